using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The embedding, bit for bit.</summary>
public static class EmbeddingForwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in EmbeddingCase.All
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(nameof(Backend.EmbeddingForward), placement.Of(row.Name), device =>
        {
            RowInputs inputs = row.Inputs();
            return Compare(inputs, RowRunner.Embed(device, inputs, placement.Gap));
        })
        { Work = row.Inputs().Chosen.Length * row.Channels };

    /// <summary>How far a result is from the rows of the table.</summary>
    public static IReadOnlyList<OutputError> Compare(RowInputs inputs, float[] actual) =>
        [OutputError.Exactly("output", RowOracle.Run(inputs.Table, inputs.Columns, inputs.Chosen), actual)];
}
