using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Steps of AdamW against float64.</summary>
public static class AdamWValidation
{
    private const int Steps = 3;

    private static readonly AdamWSettings Usual = new(3e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 1);

    private static readonly (int Count, DataType? Rounded, AdamWSettings Settings)[] Cases =
    [
        (1, DataType.Float32, Usual),
        (31, DataType.Float16, Usual with { GradientScale = 1f / 1024 }),
        (257, DataType.BFloat16, Usual with { MaxGradientNorm = 0 }),
        (1000, null, Usual with { MaxGradientNorm = float.PositiveInfinity, WeightDecay = 0 }),
        (100_003, DataType.BFloat16, Usual with { MaxGradientNorm = 10 }),
        (3_000_001, DataType.Float16, Usual),
    ];

    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in Cases
        from placement in new[] { RowPlacement.Usual, RowPlacement.Aligned }
        let rounded = row.Rounded is { } type ? $" rounded {StoredValues.ShortName(type)}" : ""
        let clip = row.Settings.MaxGradientNorm == 0 ? "" : " clip"
        select new ValidationRow(
            nameof(Backend.AdamW), placement.Of($"n{row.Count}{rounded}{clip}"),
            device => Run(device, row.Count, row.Rounded, row.Settings, placement.Gap))
        { Work = (long)row.Count * Steps };

    private static IReadOnlyList<OutputError> Run(Backend backend, int count, DataType? type, AdamWSettings settings, int gap)
    {
        RandomValues random = new($"{count}");
        float[] initial = random.Normal(count), zero = new float[count];
        AdamWOracle<double> exact = new(initial, settings);
        AdamWOracle<float> plain = new(initial, settings);
        GuardedMatrix Output(float[] values) => GuardedMatrix.Output(backend, DataType.Float32, 1, count, values, gap);
        using GuardedMatrix parameters = Output(initial), first = Output(zero), second = Output(zero);
        using GuardedMatrix? rounded = type is { } known ? GuardedMatrix.Output(backend, known, 1, count, gap: gap) : null;
        for (int step = 1; step <= Steps; step++)
        {
            float[] gradients = random.Normal(count);
            float? norm = settings.MaxGradientNorm == 0 ? null : (float)Math.Sqrt(gradients.Sum(value => (double)value * value));
            exact.Step(gradients, norm);
            plain.Step(gradients, norm);
            using GuardedMatrix input = GuardedMatrix.Input(backend, DataType.Float32, 1, count, gradients, gap);
            using GuardedMatrix? norms = norm is { } value ? GuardedMatrix.Input(backend, DataType.Float32, 1, 1, [value]) : null;
            backend.AdamW(new AdamWArgs
            {
                Parameters = parameters.View,
                Gradients = input.View,
                FirstMoment = first.View,
                SecondMoment = second.View,
                Rounded = rounded?.View ?? default,
                GradientNorm = norms?.View ?? default,
                LearningRate = settings.LearningRate,
                Beta1 = settings.Beta1,
                Beta2 = settings.Beta2,
                Epsilon = settings.Epsilon,
                WeightDecay = settings.WeightDecay,
                GradientScale = settings.GradientScale,
                MaxGradientNorm = settings.MaxGradientNorm,
                Step = step,
            });
            input.AssertUnchanged("gradients");
            norms?.AssertUnchanged("gradient norm");
        }

        parameters.AssertGuardsIntact("parameters");
        first.AssertGuardsIntact("first moment");
        second.AssertGuardsIntact("second moment");
        rounded?.AssertGuardsIntact("rounded parameters");
        float[] actual = parameters.Values();
        PlainBound bound = new(exact.Parameters, plain.Parameters, exact.Sizes, 1);
        OutputError error = bound.Worst("parameters", actual, [count]);
        return rounded is null
            ? [error]
            : [error, OutputError.Exactly("rounded", StoredValues.Round(actual, rounded.View.Type), rounded.Values())];
    }
}
