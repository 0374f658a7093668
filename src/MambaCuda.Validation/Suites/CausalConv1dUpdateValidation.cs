using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One token of the causal convolution, state in place, against float64.</summary>
public static class CausalConv1dUpdateValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>: the convolution's, of one token each.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) => CausalConv1dForwardValidation.Rows(
        nameof(Backend.CausalConv1dUpdate), CausalConv1dCase.All.Select(row => row with { Length = 1 }).Distinct(), oneTokenUpdate: true);
}
