namespace MambaCuda.Training;

/// <summary>How a model answers a batch of a task.</summary>
/// <param name="Accuracy">The answers whose most likely id is the right one.</param>
/// <param name="Loss">The mean cross-entropy of the answers, in nats; not a number where none was asked for.</param>
public readonly record struct TaskScore(TokenAccuracy Accuracy, double Loss);
