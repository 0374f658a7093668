namespace MambaCuda.Training;

/// <summary>
/// A step's loss or gradient was not finite. The parameters are as they were before it; the message names the file with the batch.
/// </summary>
public sealed class TrainingDivergedException(string message) : Exception(message);
