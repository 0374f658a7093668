using System.Text.Json;
using System.Text.Json.Serialization;

namespace MambaCuda.Training;

/// <summary>
/// The learning rate of every step: a linear warm-up to the peak, then a shape. The paper's recipe is a warm-up over a tenth of the steps
/// and a cosine to 1e-5 (appendix E.2). Immutable; comes and goes as JSON.
/// </summary>
public sealed record LearningRateSchedule
{
    /// <summary>Creates a schedule.</summary>
    /// <param name="shape">What happens after the warm-up.</param>
    /// <param name="peak">The highest learning rate, positive.</param>
    /// <param name="warmupSteps">Steps of the warm-up; step 0 already has peak / warmupSteps. 0 for none.</param>
    /// <param name="totalSteps">The step at which the floor is reached; not for <see cref="LearningRateShape.Constant"/>.</param>
    /// <param name="floor">The lowest learning rate after the warm-up, from 0 to the peak.</param>
    /// <param name="decaySteps">Of the stable shapes only: the steps of the fall, which end at totalSteps.</param>
    /// <exception cref="ArgumentException">A number is out of its range, or two do not go together; the message names them.</exception>
    [JsonConstructor]
    public LearningRateSchedule(
        LearningRateShape shape, double peak, long warmupSteps = 0, long totalSteps = 0, double floor = 0, long decaySteps = 0)
    {
        if (!Enum.IsDefined(shape))
        {
            throw new ArgumentOutOfRangeException(nameof(shape), shape, "There is no such shape of a learning rate.");
        }

        if (!(peak > 0 && double.IsFinite(peak)))
        {
            throw new ArgumentOutOfRangeException(nameof(peak), peak, "The peak of the learning rate must be a positive number.");
        }

        if (!(floor >= 0 && floor <= peak))
        {
            throw new ArgumentOutOfRangeException(nameof(floor), floor, $"The floor must lie between 0 and the peak, {peak}.");
        }

        ArgumentOutOfRangeException.ThrowIfNegative(warmupSteps);
        bool stable = shape is LearningRateShape.StableLinear or LearningRateShape.StableSquareRoot;
        if (shape != LearningRateShape.Constant && totalSteps <= warmupSteps)
        {
            throw new ArgumentOutOfRangeException(
                nameof(totalSteps), totalSteps, $"The learning rate falls after its warm-up of {warmupSteps} steps; give more in all.");
        }

        if (shape == LearningRateShape.Constant && (totalSteps != 0 || floor != 0))
        {
            throw new ArgumentException("A constant learning rate has neither a last step nor a floor.", nameof(totalSteps));
        }

        if (stable ? decaySteps < 1 || decaySteps > totalSteps - warmupSteps : decaySteps != 0)
        {
            throw new ArgumentOutOfRangeException(
                nameof(decaySteps),
                decaySteps,
                stable
                    ? $"The fall must take 1 to {totalSteps - warmupSteps} steps: the steps in all less the warm-up."
                    : "Only a stable learning rate has steps of decay.");
        }

        Shape = shape;
        Peak = peak;
        WarmupSteps = warmupSteps;
        TotalSteps = totalSteps;
        Floor = floor;
        DecaySteps = decaySteps;
    }

    /// <summary>What happens after the warm-up.</summary>
    public LearningRateShape Shape { get; }

    /// <summary>The highest learning rate.</summary>
    public double Peak { get; }

    /// <summary>Steps of the warm-up.</summary>
    public long WarmupSteps { get; }

    /// <summary>The step at which the floor is reached; 0 for a constant one.</summary>
    public long TotalSteps { get; }

    /// <summary>The lowest learning rate after the warm-up.</summary>
    public double Floor { get; }

    /// <summary>Steps of the fall of a stable one; 0 for the others.</summary>
    public long DecaySteps { get; }

    /// <summary>Warm-up, then the peak for ever.</summary>
    public static LearningRateSchedule Constant(double peak, long warmupSteps = 0) => new(LearningRateShape.Constant, peak, warmupSteps);

    /// <summary>Warm-up, then half a cosine down to the floor.</summary>
    public static LearningRateSchedule Cosine(double peak, long warmupSteps, long totalSteps, double floor = 0) =>
        new(LearningRateShape.Cosine, peak, warmupSteps, totalSteps, floor);

    /// <summary>Warm-up, the peak, then a fall to the floor over the last steps (WSD).</summary>
    /// <param name="peak">The highest learning rate.</param>
    /// <param name="warmupSteps">Steps of the warm-up.</param>
    /// <param name="totalSteps">The step at which the floor is reached.</param>
    /// <param name="decaySteps">The steps of the fall.</param>
    /// <param name="floor">The lowest learning rate.</param>
    /// <param name="squareRoot">Whether it falls by 1 - sqrt, not in a straight line.</param>
    public static LearningRateSchedule WarmupStableDecay(
        double peak, long warmupSteps, long totalSteps, long decaySteps, double floor = 0, bool squareRoot = false) =>
        new(squareRoot ? LearningRateShape.StableSquareRoot : LearningRateShape.StableLinear, peak, warmupSteps, totalSteps, floor,
            decaySteps);

    /// <summary>The learning rate of a step.</summary>
    /// <param name="step">The step, from 0 on. Beyond the last it stays at the floor.</param>
    public double At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        if (step < WarmupSteps)
        {
            return Peak * (step + 1) / WarmupSteps;
        }

        long fall = Shape is LearningRateShape.StableLinear or LearningRateShape.StableSquareRoot ? DecaySteps : TotalSteps - WarmupSteps;
        double progress = Shape == LearningRateShape.Constant ? 0 : Math.Clamp((double)(step - (TotalSteps - fall)) / fall, 0, 1);
        double height = Shape switch
        {
            LearningRateShape.Cosine => (1 + Math.Cos(Math.PI * progress)) / 2,
            LearningRateShape.StableSquareRoot => 1 - Math.Sqrt(progress),
            _ => 1 - progress,
        };
        return Floor + ((Peak - Floor) * height);
    }

    /// <summary>The schedule as one JSON object.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, TrainingJson.Default.LearningRateSchedule);

    /// <summary>Reads what <see cref="ToJson"/> wrote.</summary>
    /// <exception cref="JsonException">The text is no such object, lacks shape or peak, or has a field that is not known.</exception>
    /// <exception cref="ArgumentException">A number is out of its range.</exception>
    public static LearningRateSchedule FromJson(string json) =>
        JsonSerializer.Deserialize(json, TrainingJson.Default.LearningRateSchedule)
        ?? throw new JsonException("A learning rate schedule is an object, not null.");
}
