using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The cross-entropy and its gradient against float64.</summary>
public static class CrossEntropyValidation
{
    private const int Ignored = CrossEntropyArgs.IgnoredTarget;

    // From one logit to a real vocabulary, which no block holds in registers, logits that would overflow if the largest one were not taken
    // off, and more long rows than a card has blocks for.
    private static readonly (int Rows, int Vocabulary, float Deviation, float ZLossWeight, float GradScale)[] Cases =
    [
        (1, 1, 1, 0, 1), (7, 257, 1e4f, 0, 1), (100, 136, 10, 1e-4f, 1024), (3, 16, 1, 1e-3f, 0.25f), (2, 50280, 5, 1e-4f, 1),
        (140, 16404, 3, 1e-4f, 0.5f),
    ];

    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in Cases
        from placement in RowPlacement.For(row.Vocabulary)
        let zLoss = row.ZLossWeight == 0 ? "" : " z-loss"
        let name = FormattableString.Invariant($"r{row.Rows} v{row.Vocabulary} times {row.Deviation}{zLoss}")
        select new ValidationRow(nameof(Backend.CrossEntropy), placement.Of(name), device =>
        {
            RandomValues random = new(name);
            float[] logits = random.Normal(row.Rows * row.Vocabulary, 0, row.Deviation);
            int[] targets = [.. random.Integers(row.Rows, row.Vocabulary).Select((id, i) => i % 5 == 1 ? Ignored : id)];
            (float[] losses, float[] gradient) = Run(device, logits, targets, row.ZLossWeight, row.GradScale, placement.Gap);
            return Compare(logits, targets, row.ZLossWeight, row.GradScale, losses, gradient, device.ActivationType);
        })
        { Work = (long)row.Rows * row.Vocabulary };

    /// <summary>How far losses and gradients are from float64.</summary>
    /// <param name="logits">The logits, (rows, vocabulary).</param>
    /// <param name="targets">The target of each row.</param>
    /// <param name="zLossWeight">The weight of the z-loss.</param>
    /// <param name="gradScale">What gradients are multiplied by.</param>
    /// <param name="losses">The losses.</param>
    /// <param name="gradient">The gradient of the logits.</param>
    /// <param name="activation">The gradient's type.</param>
    public static IReadOnlyList<OutputError> Compare(
        float[] logits, int[] targets, float zLossWeight, float gradScale, float[] losses, float[] gradient, DataType activation)
    {
        int rows = targets.Length, vocabulary = logits.Length / rows;
        (double[] exactLosses, double[] exact, double[] z) = CrossEntropyOracle.Run<double>(logits, targets, zLossWeight, gradScale);
        (float[] plainLosses, float[] plain, _) = CrossEntropyOracle.Run<float>(logits, targets, zLossWeight, gradScale);

        // What is subtracted: a logarithm of a sum and a logit, which is up to the loss away from it; and the z-loss's square.
        double[] lossSize = [.. z.Select((value, row) => targets[row] == Ignored
            ? 0
            : 1 + (2 * Math.Abs(value)) + Math.Abs(exactLosses[row]) + (3 * zLossWeight * value * value))];
        PlainBound lossBound = new(exactLosses, plainLosses, lossSize, 1);
        double OneHot(int i) => i % vocabulary == targets[i / vocabulary] ? gradScale : 0;
        double[] size = [.. exact.Select((value, i) => Math.Abs(value) + OneHot(i))];
        PlainBound bound = new(exact, StoredValues.Round(plain, activation), size, 1)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        return
        [
            lossBound.Worst("losses", losses, Enumerable.Repeat(1, rows)),
            bound.Worst("grad logits", gradient, Enumerable.Repeat(vocabulary, rows)),
        ];
    }

    private static (float[] Losses, float[] Gradient) Run(
        Backend backend, float[] logits, int[] targets, float zLossWeight, float gradScale, int gap)
    {
        int rows = targets.Length, vocabulary = logits.Length / rows;
        using GuardedMatrix input = GuardedMatrix.Input(backend, DataType.Float32, rows, vocabulary, logits, gap);
        using GuardedMatrix ids = GuardedMatrix.Input(backend, rows, 1, targets);
        using GuardedMatrix losses = GuardedMatrix.Output(backend, DataType.Float32, rows, 1);
        using GuardedMatrix gradient = GuardedMatrix.Output(backend, backend.ActivationType, rows, vocabulary, gap: gap);
        backend.CrossEntropy(new CrossEntropyArgs
        {
            Logits = input.View,
            Targets = ids.View,
            ZLossWeight = zLossWeight,
            GradScale = gradScale,
            Losses = losses.View,
            GradLogits = gradient.View,
        });
        input.AssertUnchanged("logits");
        ids.AssertUnchanged("targets");
        losses.AssertGuardsIntact("losses");
        gradient.AssertGuardsIntact("gradient of the logits");
        return (losses.Values(), gradient.Values());
    }
}
