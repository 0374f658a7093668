using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>
/// What <c>mamba-cuda validate</c> runs. A new operation is a line here and a file under Suites; a new shape is a row of its table under
/// Cases, and a new kernel of an operation that is here is a shape that launches it. Operations that only the CPU has may come later.
/// </summary>
public static class ValidationTable
{
    /// <summary>The rows of each operation on a backend.</summary>
    public static IReadOnlyList<Func<Backend, IEnumerable<ValidationRow>>> Suites { get; } =
    [
        EmbeddingForwardValidation.Rows,
        AddRmsNormForwardValidation.Rows,
        AddRmsNormBackwardValidation.Rows,
        LinearForwardValidation.Rows,
        AddRmsNormLinearValidation.Rows,
        CausalConv1dForwardValidation.Rows,
        CausalConv1dUpdateValidation.Rows,
        CausalConv1dBackwardValidation.Rows,
        StateMatrixForwardValidation.Rows,
        StateMatrixBackwardValidation.Rows,
        SelectiveScanForwardValidation.Rows,
        SelectiveStateUpdateValidation.Rows,
        MixerStepValidation.Rows,
        DecodeStepValidation.Rows,
        SelectiveScanBackwardValidation.Rows,
        AttentionForwardValidation.Rows,
        AttentionBackwardValidation.Rows,
        AttentionDecodeValidation.Rows,
        GatherRowsValidation.Rows,
        LogProbabilitiesValidation.Rows,
        SampleTokensValidation.Rows,
        GradientNormValidation.Rows,
        AdamWValidation.Rows,
        EmbeddingBackwardValidation.Rows,
        CrossEntropyValidation.Rows,
        LinearBackwardValidation.Rows,
    ];

    /// <summary>All rows on a backend.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) => Suites.SelectMany(suite => suite(backend));
}
