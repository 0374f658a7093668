using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Causal attention against float64.</summary>
public static class AttentionForwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in Cases(backend)
        from placement in RowPlacement.For(row.HeadSize)
        select new ValidationRow(nameof(Backend.AttentionForward), placement.Of(row.Name), device =>
        {
            AttentionInputs inputs = row.Inputs().Round(values => StoredValues.Round(values, device.ActivationType));
            return Compare(inputs, AttentionRunner.Run(device, inputs, placement.Gap), device.ActivationType);
        })
        { Work = row.Work };

    /// <summary>How far a result is from float64.</summary>
    public static IReadOnlyList<OutputError> Compare(AttentionInputs inputs, AttentionResult<float> actual, DataType activation)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(actual);
        AttentionResult<double> exact = AttentionOracle.Run<double>(inputs);
        AttentionResult<float> plain = AttentionOracle.Run<float>(inputs);
        AttentionResult<double> magnitude = AttentionOracle.RunMagnitudes(inputs, ScoreUnits(activation));
        PlainBound y = new(exact.Y, StoredValues.Round(plain.Y, activation), magnitude.Y, inputs.Columns)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        PlainBound logSumExp = new(exact.LogSumExp, plain.LogSumExp, magnitude.LogSumExp, columns: 1) { UnitRoundoff = ScoreRoundoff(activation) };
        IEnumerable<int> groups = Enumerable.Range(0, inputs.Heads).SelectMany(_ => inputs.Lengths);
        return [y.Worst("y", actual.Y, inputs.Lengths), logSumExp.Worst("log-sum-exp", actual.LogSumExp, groups)];
    }

    /// <summary>What scores are computed to, in units of what results are stored to.</summary>
    internal static double ScoreUnits(DataType activation) => ScoreRoundoff(activation) / StoredValues.UnitRoundoff(activation);

    /// <summary>
    /// What scores are computed to: tensor cores, which take 16 bits, add float32 products with bits cut off, not rounded.
    /// </summary>
    private static double ScoreRoundoff(DataType activation) => Math.Pow(2, activation == DataType.Float32 ? -24 : -22);

    /// <summary>The rows of the operation; where there is a card, those too that take its larger blocks.</summary>
    internal static IEnumerable<AttentionCase> Cases(Backend backend) =>
        backend is CudaBackend cuda ? [.. AttentionCase.All, .. AttentionCase.Many(cuda.Context.Device.MultiprocessorCount)] : AttentionCase.All;
}
