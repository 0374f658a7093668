using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Attention of one new token to a cache against float64: the last token of each sequence of the same table.</summary>
public static class AttentionDecodeValidation
{
    // Longer than a chunk of the cache, and than several.
    private static readonly AttentionCase[] Long = [new(2, 400, 1, 64) { Packed = true }, new(3, 1000, 2, 128) { Packed = true }];

    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in AttentionCase.All.Concat(Long)
        from placement in RowPlacement.For(row.HeadSize)
        select new ValidationRow(nameof(Backend.AttentionDecode), placement.Of(row.Name), device =>
        {
            AttentionInputs inputs = row.Inputs().Round(values => StoredValues.Round(values, device.ActivationType));
            return Compare(inputs, AttentionRunner.RunDecode(device, inputs, placement.Gap), device.ActivationType);
        })
        { Work = 2L * row.Batch * row.Length * row.Heads * row.HeadSize };

    /// <summary>How far results of the last tokens are from float64.</summary>
    public static IReadOnlyList<OutputError> Compare(AttentionInputs inputs, float[] actual, DataType activation)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        PackedParts last = new(inputs.Lengths, sequence => (inputs.Lengths[sequence] - 1, inputs.Lengths[sequence]));
        T[] Last<T>(T[] rows) => last.Rows(rows, inputs.Columns);
        PlainBound bound = new(
            Last(AttentionOracle.Run<double>(inputs, lastOnly: true).Y),
            StoredValues.Round(Last(AttentionOracle.Run<float>(inputs, lastOnly: true).Y), activation),
            Last(AttentionOracle.RunMagnitudes(inputs, AttentionForwardValidation.ScoreUnits(activation), lastOnly: true).Y),
            inputs.Columns)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        return [bound.Worst("y", actual, Enumerable.Repeat(1, inputs.Lengths.Length))];
    }
}
