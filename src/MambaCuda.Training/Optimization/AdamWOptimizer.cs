using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// AdamW over a model's parameters and the gradients that backward passes have added up: one pass over all of them for the norm, one for
/// the step.
/// </summary>
public sealed class AdamWOptimizer : IDisposable
{
    private readonly TrainableModel _model;
    private readonly DeviceBuffer _moments;
    private readonly DeviceBuffer _norm;

    /// <summary>Both moments start at zero.</summary>
    /// <exception cref="ArgumentException">
    /// The model has no float32 weights to step, see <see cref="TrainedParameters.HasMasters"/>.
    /// </exception>
    public AdamWOptimizer(TrainableModel model, AdamWSettings? settings = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (!model.Parameters.HasMasters)
        {
            throw new ArgumentException("The model has no float32 weights to step: make it with master weights.", nameof(model));
        }

        Settings = settings ?? new AdamWSettings();
        Settings.Validate();
        _model = model;
        _moments = model.Backend.Allocate(2 * model.Parameters.Layout.ElementCount * sizeof(float));
        try
        {
            _norm = model.Backend.Allocate(sizeof(float));
        }
        catch
        {
            _moments.Dispose();
            throw;
        }
    }

    /// <summary>What it is set to.</summary>
    public AdamWSettings Settings { get; }

    /// <summary>How many steps were taken.</summary>
    public long StepsTaken { get; internal set; }

    /// <summary>
    /// Both moments in the order of <see cref="ParameterLayout"/>, the first before the second: (2 * elements / columns, columns), Float32.
    /// </summary>
    internal MatrixView Moments => ParameterLayout.Part(_moments, DataType.Float32, 0, 2 * _model.Parameters.Layout.ElementCount);

    /// <summary>
    /// Steps the parameters by their gradients and sets those to zero. Where the norm of the gradients is not finite, parameters and
    /// moments stay as they were, and the step does not count.
    /// </summary>
    /// <param name="learningRate">The learning rate of the step.</param>
    /// <param name="gradientScale">What gradients are multiplied by first: 1 / (loss scale).</param>
    /// <returns>The norm of the gradients, scaled, before the clip.</returns>
    public double Step(double learningRate, double gradientScale = 1)
    {
        Put((float)learningRate, gradientScale, decayed: default, undecayed: default);
        return Count(gradientScale);
    }

    /// <summary>The factors of the next step, for parameters that are decayed and for those that are not.</summary>
    internal (AdamWFactors Decayed, AdamWFactors Undecayed) Factors(double learningRate)
    {
        AdamWArgs args = Args((float)learningRate, gradientScale: 1);
        return (AdamWFactors.Of(args with { WeightDecay = (float)Settings.WeightDecay }), AdamWFactors.Of(args));
    }

    /// <summary>Calls the operations of a step, none of which waits for the host.</summary>
    /// <param name="learningRate">The learning rate, where the factors are not given.</param>
    /// <param name="gradientScale">What gradients are multiplied by first.</param>
    /// <param name="decayed">The factors for parameters that are decayed, on the device; or none.</param>
    /// <param name="undecayed">Those for the others, or none.</param>
    internal void Put(float learningRate, double gradientScale, MatrixView decayed, MatrixView undecayed)
    {
        Backend backend = _model.Backend;
        backend.Trace?.BeginPart("optimizer");
        ParameterLayout layout = _model.Parameters.Layout;
        backend.GradientNorm(new GradientNormArgs { Gradients = _model.Gradients.Values, Norm = Norm });
        AdamWArgs args = Args(learningRate, gradientScale);
        StepPart(0, layout.DecayedCount, args with { WeightDecay = (float)Settings.WeightDecay, Factors = decayed });
        StepPart(layout.DecayedCount, layout.ElementCount - layout.DecayedCount, args with { Factors = undecayed });
        _model.Parameters.Refresh();
        _model.Gradients.Clear();
        backend.Trace?.EndPart();

        void StepPart(long first, long count, in AdamWArgs part)
        {
            // An adapter has nothing but matrices.
            if (count > 0)
            {
                backend.AdamW(part with
                {
                    Parameters = _model.Parameters.Part(first, count),
                    Rounded = _model.Parameters.RoundedPart(first, count),
                    Gradients = _model.Gradients.Part(first, count),
                    FirstMoment = ParameterLayout.Part(_moments, DataType.Float32, first, count),
                    SecondMoment = ParameterLayout.Part(_moments, DataType.Float32, layout.ElementCount + first, count),
                });
            }
        }
    }

    /// <summary>Waits for a step, and counts it where the norm of its gradients is finite; the norm, scaled.</summary>
    internal double Count(double gradientScale)
    {
        float[] read = new float[1];
        _model.Backend.Download<float>(Norm, read);
        double scaled = read[0] * gradientScale;
        StepsTaken += double.IsFinite(scaled) ? 1 : 0;
        return scaled;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _moments.Dispose();
        _norm.Dispose();
    }

    private MatrixView Norm => _norm.Matrix(DataType.Float32, 1, 1);

    private AdamWArgs Args(float learningRate, double gradientScale) => new()
    {
        GradientNorm = Norm,
        MaxGradientNorm = (float)Settings.MaxGradientNorm,
        GradientScale = (float)gradientScale,
        LearningRate = learningRate,
        Beta1 = (float)Settings.Beta1,
        Beta2 = (float)Settings.Beta2,
        Epsilon = (float)Settings.Epsilon,
        Step = StepsTaken + 1,
    };
}
