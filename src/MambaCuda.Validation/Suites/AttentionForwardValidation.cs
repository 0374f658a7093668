using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Causal attention against float64.</summary>
public static class AttentionForwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>: as the backend chooses to compute it, then in each way that CUDA has.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in AttentionCase.All
        from placement in RowPlacement.For(row.HeadSize)
        from variant in Variants(backend, row, placement).Prepend(null)
        select new ValidationRow(nameof(Backend.AttentionForward), placement.Of(row.Name), device =>
        {
            AttentionInputs inputs = row.Inputs().Round(values => StoredValues.Round(values, device.ActivationType));
            return Compare(inputs, AttentionRunner.Run(device, inputs, placement.Gap, variant: variant), device.ActivationType);
        })
        { Variant = variant, Work = row.Work };

    /// <summary>The ways that a backend has for a case, where there are several.</summary>
    public static IEnumerable<string?> Variants(Backend backend, AttentionCase row, RowPlacement placement)
    {
        ArgumentNullException.ThrowIfNull(row);
        ArgumentNullException.ThrowIfNull(placement);
        if (backend is not CudaBackend cuda)
        {
            return [];
        }

        using GuardedMatrix operand = Operand(cuda, row, placement);
        return Several(cuda.AttentionVariants(ForwardArgs(operand, row)));
    }

    /// <summary>Those that it has for the gradients.</summary>
    public static IEnumerable<string?> BackwardVariants(Backend backend, AttentionCase row, RowPlacement placement)
    {
        ArgumentNullException.ThrowIfNull(row);
        ArgumentNullException.ThrowIfNull(placement);
        if (backend is not CudaBackend cuda)
        {
            return [];
        }

        using GuardedMatrix operand = Operand(cuda, row, placement);
        return Several(cuda.AttentionVariants(new AttentionBackwardArgs
        {
            Forward = ForwardArgs(operand, row),
            GradY = operand.View.RowRange(0, 1),
            GradQ = operand.View.RowRange(1, 1),
            GradK = operand.View.RowRange(2, 1),
            GradV = operand.View.RowRange(3, 1),
        }));
    }

    // Of where operands lie the first rows tell all.
    private static GuardedMatrix Operand(CudaBackend cuda, AttentionCase row, RowPlacement placement) =>
        GuardedMatrix.Output(cuda, cuda.ActivationType, 4, row.Heads * row.HeadSize, gap: placement.Gap);

    private static AttentionForwardArgs ForwardArgs(GuardedMatrix operand, AttentionCase row) => new()
    {
        Q = operand.View.RowRange(0, 1),
        K = operand.View.RowRange(1, 1),
        V = operand.View.RowRange(2, 1),
        Y = operand.View.RowRange(3, 1),
        Heads = row.Heads,
        Sequences = SequenceLayout.Uniform(1, 1),
    };

    private static string[] Several(IReadOnlyList<AttentionVariant> variants) =>
        variants.Count == 1 ? [] : [.. variants.Select(variant => variant.ToString())];

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
}
