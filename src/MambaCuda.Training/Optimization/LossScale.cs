using System.Text.Json.Serialization;

namespace MambaCuda.Training;

/// <summary>
/// What the loss is multiplied by so that gradients of float16 do not vanish, and how long it has done well (Micikevicius et al., "Mixed
/// Precision Training", section 3.2). A power of two: multiplying and dividing by it loses nothing.
/// </summary>
/// <param name="Value">The scale.</param>
/// <param name="GoodSteps">Steps with finite gradients since it was last changed.</param>
public sealed record LossScale(double Value, long GoodSteps = 0)
{
    /// <summary>What it is at most; far above what any gradient of float16 bears.</summary>
    public const double Largest = 1 << 30;

    /// <summary>Whether it cannot be halved: gradients overflow by themselves.</summary>
    [JsonIgnore]
    public bool IsAtFloor => Value <= 1;

    /// <summary>Behind gradients that were not finite.</summary>
    public LossScale Halved() => new(Value / 2);

    /// <summary>Behind a step with finite gradients.</summary>
    public LossScale AfterGoodStep(LossScaleSettings settings)
    {
        ArgumentNullException.ThrowIfNull(settings);
        return GoodSteps + 1 < settings.GrowthSteps ? this with { GoodSteps = GoodSteps + 1 } : new(Math.Min(2 * Value, Largest));
    }
}

/// <summary>How the loss scale of float16 begins and grows. It is halved wherever gradients are not finite.</summary>
public sealed record LossScaleSettings
{
    /// <summary>The scale of the first step: a power of two from 1 on.</summary>
    public double Initial { get; init; } = 1 << 16;

    /// <summary>After so many steps with finite gradients it is doubled.</summary>
    public long GrowthSteps { get; init; } = 2000;

    /// <summary>Throws where a number is out of its range.</summary>
    /// <exception cref="ArgumentException">One is; the message names it.</exception>
    public void Validate()
    {
        if (!(Initial is >= 1 and <= LossScale.Largest) || !double.IsPow2(Initial))
        {
            throw new ArgumentOutOfRangeException(
                nameof(Initial), Initial, $"The loss scale must begin as a power of two from 1 to {LossScale.Largest:N0}.");
        }

        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(GrowthSteps);
    }
}
