using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One token of the selective scan, state in place, against float64.</summary>
public static class SelectiveStateUpdateValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>: the scan's, of one token each.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) => SelectiveScanForwardValidation.Rows(
        nameof(Backend.SelectiveStateUpdate), backend, SelectiveScanCase.All.Select(row => row with { Length = 1 }).Distinct(), oneTokenUpdate: true);
}
