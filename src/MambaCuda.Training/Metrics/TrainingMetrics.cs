namespace MambaCuda.Training;

/// <summary>What is known of a training step when it is done.</summary>
/// <param name="Step">The steps done, from 1 on.</param>
/// <param name="Tokens">The tokens seen since the run began.</param>
/// <param name="Loss">The mean loss of a target in nats; not a number where the step failed.</param>
/// <param name="LearningRate">The learning rate of the step.</param>
/// <param name="GradientNorm">The norm of all gradients before they were clipped.</param>
/// <param name="TokensPerSecond">Tokens a second, of late.</param>
/// <param name="Seconds">Seconds of training since the run began, over all its resumes.</param>
/// <param name="EtaSeconds">Seconds until the last step, or null where none is known.</param>
/// <param name="ValidationLoss">The mean loss of a held-out target in nats, or null where it was not measured after this step.</param>
/// <param name="LossScale">What the loss was multiplied by, or null where it was not.</param>
public sealed record TrainingMetrics(
    long Step,
    long Tokens,
    double Loss,
    double LearningRate,
    double GradientNorm,
    double TokensPerSecond,
    double Seconds,
    double? EtaSeconds = null,
    double? ValidationLoss = null,
    double? LossScale = null);
