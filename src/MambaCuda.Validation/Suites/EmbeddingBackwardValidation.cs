using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>
/// The gradient of the embedding table, bit for bit where rows are added in the order of the tokens; where blocks share many tokens among
/// them, against float64.
/// </summary>
public static class EmbeddingBackwardValidation
{
    /// <summary>From so many tokens on, the order of the terms may be another.</summary>
    private const int SharedTokens = 16384;

    // A block of one row of the table and of several; more tokens than a block looks through at once; few ids that come again and again.
    private static readonly (int Tokens, int Channels, int Vocabulary, int Ids)[] Cases =
    [
        (1, 1, 1, 1), (44, 33, 29, 29), (100, 130, 29, 3), (300, 64, 5000, 5000), (5000, 24, 16, 16), (5000, 264, 3000, 50),
        (70, 2056, 29, 29), (20000, 20, 16, 16), (16500, 264, 3, 2),
    ];

    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in Cases
        from placement in RowPlacement.For(row.Channels)
        let name = $"t{row.Tokens} c{row.Channels} v{row.Vocabulary} ids{row.Ids}"
        select new ValidationRow(nameof(Backend.EmbeddingBackward), placement.Of(name), device =>
        {
            RandomValues random = new(name);
            int[] ids = [.. random.Integers(row.Tokens, row.Ids).Select(id => row.Vocabulary - 1 - id)];
            float[] gradOutput = random.Normal(row.Tokens * row.Channels), before = random.Normal(row.Vocabulary * row.Channels);
            float[] expected = EmbeddingBackwardOracle.Run<float>(ids, gradOutput, before);
            float[] actual = Run(device, ids, gradOutput, before, placement.Gap);
            if (row.Tokens < SharedTokens)
            {
                return [OutputError.Exactly("grad weight", expected, actual)];
            }

            double[] Of(Func<float, float> of) => EmbeddingBackwardOracle.Run<double>(
                ids, Array.ConvertAll(gradOutput, x => of(x)), Array.ConvertAll(before, x => of(x)));
            PlainBound bound = new(Of(x => x), expected, Of(Math.Abs), row.Channels);
            return [bound.Worst("grad weight", actual, [row.Vocabulary])];
        })
        { Work = (long)row.Tokens * row.Channels };

    private static float[] Run(Backend backend, int[] ids, float[] gradOutput, float[] gradWeight, int gap)
    {
        int channels = gradOutput.Length / ids.Length;
        using GuardedMatrix tokens = GuardedMatrix.Input(backend, ids.Length, 1, ids, gap);
        using GuardedMatrix output = GuardedMatrix.Input(backend, DataType.Float32, ids.Length, channels, gradOutput, gap);
        using GuardedMatrix weight = GuardedMatrix.Output(
            backend, DataType.Float32, gradWeight.Length / channels, channels, gradWeight, gap);
        backend.EmbeddingBackward(new EmbeddingBackwardArgs { TokenIds = tokens.View, GradOutput = output.View, GradWeight = weight.View });
        tokens.AssertUnchanged("token ids");
        output.AssertUnchanged("gradient of the output");
        weight.AssertGuardsIntact("gradient of the weight");
        return weight.Values();
    }
}
