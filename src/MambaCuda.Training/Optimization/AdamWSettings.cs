namespace MambaCuda.Training;

/// <summary>What AdamW is set to; the defaults are the paper's recipe (appendix E.2).</summary>
public sealed record AdamWSettings
{
    /// <summary>Decay of the first moment, at least 0 and below 1.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment, at least 0 and below 1.</summary>
    public double Beta2 { get; init; } = 0.95;

    /// <summary>Added to the root of the second moment, positive.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Weight decay of matrices and convolutions; A_log, D, biases and norms have none.</summary>
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>Where the norm of all gradients is more, they are scaled down to it; infinity for no clip.</summary>
    public double MaxGradientNorm { get; init; } = 1;

    /// <summary>Throws where a number is out of its range.</summary>
    /// <exception cref="ArgumentException">One is; the message names it.</exception>
    public void Validate()
    {
        Check(Beta1 is >= 0 and < 1, nameof(Beta1), Beta1, "at least 0 and below 1");
        Check(Beta2 is >= 0 and < 1, nameof(Beta2), Beta2, "at least 0 and below 1");
        Check(Epsilon > 0 && double.IsFinite(Epsilon), nameof(Epsilon), Epsilon, "positive");
        Check(WeightDecay >= 0 && double.IsFinite(WeightDecay), nameof(WeightDecay), WeightDecay, "0 or positive");
        Check(MaxGradientNorm > 0, nameof(MaxGradientNorm), MaxGradientNorm, "positive");

        static void Check(bool holds, string name, double value, string range)
        {
            if (!holds)
            {
                throw new ArgumentOutOfRangeException(name, value, $"{name} of AdamW must be {range}.");
            }
        }
    }
}
