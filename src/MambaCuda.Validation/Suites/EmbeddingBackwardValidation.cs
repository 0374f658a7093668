using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradient of the embedding table, bit for bit: rows are added in the order of the tokens.</summary>
public static class EmbeddingBackwardValidation
{
    // A block of one row of the table and of several; more tokens than a block looks through at once; few ids that come again and again.
    private static readonly (int Tokens, int Channels, int Vocabulary, int Ids)[] Cases =
    [
        (1, 1, 1, 1), (44, 33, 29, 29), (100, 130, 29, 3), (300, 64, 5000, 5000), (5000, 24, 16, 16), (5000, 264, 3000, 50),
        (70, 2056, 29, 29),
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
            return [OutputError.Exactly("grad weight", expected, Run(device, ids, gradOutput, before, placement.Gap))];
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
