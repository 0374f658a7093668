using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gather of rows, bit for bit.</summary>
public static class GatherRowsValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in GatherRowsCase.All
        from placement in new[] { RowPlacement.Usual, RowPlacement.Aligned }
        select new ValidationRow(nameof(Backend.GatherRows), placement.Of(row.Name), device =>
        {
            RowInputs inputs = row.Inputs();
            return Compare(inputs, RowRunner.Gather(device, inputs, placement.Gap));
        })
        { Work = row.Inputs().Chosen.Length * row.Columns };

    /// <summary>How far a result is from the rows of the source.</summary>
    public static IReadOnlyList<OutputError> Compare(RowInputs inputs, float[] actual) =>
        [OutputError.Exactly("destination", RowOracle.Run(inputs.Table, inputs.Columns, inputs.Chosen), actual)];
}
