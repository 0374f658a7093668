namespace MambaCuda.Training;

/// <summary>How a model is trained; what a run's recipe holds besides model and data.</summary>
public sealed record TrainerOptions
{
    /// <summary>How many steps the run has.</summary>
    public required long Steps { get; init; }

    /// <summary>The learning rate of each step.</summary>
    public required LearningRateSchedule Schedule { get; init; }

    /// <summary>The optimizer.</summary>
    public AdamWSettings Optimizer { get; init; } = new();

    /// <summary>Batches whose gradients are added up before a step: their mean loss is over the targets of all of them.</summary>
    public int Accumulation { get; init; } = 1;

    /// <summary>
    /// The most tokens of one sequence that a pass runs through at once; longer sequences are cut into segments whose state is carried on
    /// and whose gradient is cut off (truncated back-propagation through time). 0 for whole sequences.
    /// </summary>
    public int SegmentTokens { get; init; }

    /// <summary>Weight of the z-loss, see <see cref="Kernels.CrossEntropyArgs.ZLossWeight"/>.</summary>
    public double ZLossWeight { get; init; }

    /// <summary>What the loss is multiplied by where activations are Float16; others need none.</summary>
    public LossScaleSettings LossScale { get; init; } = new();

    /// <summary>
    /// Whether the operations of steps are captured and run again where the backend can (as a CUDA graph): the host then starts each step
    /// by few calls. It changes no bit.
    /// </summary>
    public bool CaptureSteps { get; init; } = true;

    /// <summary>After how many steps the held-out batches are tried again; 0 for never.</summary>
    public long ValidateEvery { get; init; }

    /// <summary>How many held-out batches; at most all there are.</summary>
    public int ValidationBatches { get; init; } = 8;

    /// <summary>After how many steps a checkpoint is saved; 0 for the last step alone.</summary>
    public long CheckpointEvery { get; init; }

    /// <summary>How many checkpoints are kept; older ones are deleted.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    /// <summary>Throws where a number is out of its range.</summary>
    /// <exception cref="ArgumentException">One is; the message names it.</exception>
    public void Validate()
    {
        ArgumentNullException.ThrowIfNull(Schedule);
        ArgumentNullException.ThrowIfNull(Optimizer);
        ArgumentNullException.ThrowIfNull(LossScale);
        Optimizer.Validate();
        LossScale.Validate();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Steps);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Accumulation);
        ArgumentOutOfRangeException.ThrowIfNegative(SegmentTokens);
        ArgumentOutOfRangeException.ThrowIfNegative(ValidateEvery);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ValidationBatches);
        ArgumentOutOfRangeException.ThrowIfNegative(CheckpointEvery);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(KeepCheckpoints);
        if (!(ZLossWeight >= 0 && double.IsFinite(ZLossWeight)))
        {
            throw new ArgumentOutOfRangeException(nameof(ZLossWeight), ZLossWeight, "The weight of the z-loss must be 0 or positive.");
        }
    }
}
