namespace MambaCuda.Driver;

/// <summary>A function of cuBLASLt failed.</summary>
public sealed class CublasException : Exception
{
    internal CublasException(int status, string action) : base($"{NameOf(status)} while {action}.")
    {
        Status = status;
        StatusName = NameOf(status);
        Action = action;
    }

    /// <summary>cuBLAS's number for what went wrong (cublasStatus_t).</summary>
    public int Status { get; }

    /// <summary>cuBLAS's name for it, as in CUBLAS_STATUS_EXECUTION_FAILED.</summary>
    public string StatusName { get; }

    /// <summary>What was being done.</summary>
    public string Action { get; }

    internal static void ThrowIfFailed(int status, string action)
    {
        if (status != 0)
        {
            throw new CublasException(status, action);
        }
    }

    // cublasLtGetStatusName is there only from CUDA 11.4 on; these have not changed since the first release.
    private static string NameOf(int status) => status switch
    {
        1 => "CUBLAS_STATUS_NOT_INITIALIZED",
        3 => "CUBLAS_STATUS_ALLOC_FAILED",
        7 => "CUBLAS_STATUS_INVALID_VALUE",
        8 => "CUBLAS_STATUS_ARCH_MISMATCH",
        11 => "CUBLAS_STATUS_MAPPING_ERROR",
        13 => "CUBLAS_STATUS_EXECUTION_FAILED",
        14 => "CUBLAS_STATUS_INTERNAL_ERROR",
        15 => "CUBLAS_STATUS_NOT_SUPPORTED",
        16 => "CUBLAS_STATUS_LICENSE_ERROR",
        _ => $"cuBLAS error {status}",
    };
}
