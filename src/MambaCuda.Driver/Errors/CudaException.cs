using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>
/// A function of the CUDA driver failed. Kernels run later than they are launched, so an error of a kernel may be reported by
/// a later call; after most of those the context is lost and only a new process gets a working one.
/// </summary>
public class CudaException : Exception
{
    /// <summary>Creates an exception for an answer of the driver.</summary>
    /// <param name="error">The answer.</param>
    /// <param name="action">What was being done, as in "loading a module of 1,024 bytes".</param>
    /// <param name="detail">What else is known, as whole sentences; or null.</param>
    public CudaException(CudaError error, string action, string? detail = null)
        : this(error, action, detail, NameOf(error), TextOf(error))
    {
    }

    private CudaException(CudaError error, string action, string? detail, string name, string text)
        : base($"{name} while {action}: {text}.{(detail is null ? "" : " " + detail)}")
    {
        Error = error;
        Action = action;
        ErrorName = name;
        ErrorText = text;
    }

    /// <summary>The driver's answer.</summary>
    public CudaError Error { get; }

    /// <summary>CUDA's name for it, as in CUDA_ERROR_ILLEGAL_ADDRESS.</summary>
    public string ErrorName { get; }

    /// <summary>The driver's sentence about it.</summary>
    public string ErrorText { get; }

    /// <summary>What was being done.</summary>
    public string Action { get; }

    /// <summary>Throws where the answer is not success. The text is only made up when it is needed.</summary>
    internal static void ThrowIfFailed(CudaError error, [InterpolatedStringHandlerArgument(nameof(error))] ref ActionText action)
    {
        if (error != CudaError.Success)
        {
            Throw(error, action.ToStringAndClear());
        }
    }

    /// <summary>Throws where the answer is not success.</summary>
    internal static void ThrowIfFailed(CudaError error, string action)
    {
        if (error != CudaError.Success)
        {
            Throw(error, action);
        }
    }

    /// <summary>CUDA's name for an answer; its number where no driver is loaded or the driver does not know it.</summary>
    internal static unsafe string NameOf(CudaError error) =>
        CudaDriver.IsLoaded && CudaApi.cuGetErrorName(error, out byte* name) == CudaError.Success && name != null
            ? Marshal.PtrToStringUTF8((nint)name)!
            : $"CUDA error {(int)error}";

    private static unsafe string TextOf(CudaError error) =>
        CudaDriver.IsLoaded && CudaApi.cuGetErrorString(error, out byte* text) == CudaError.Success && text != null
            ? Marshal.PtrToStringUTF8((nint)text)!.TrimEnd('.')
            : "the driver gives no description";

    [DoesNotReturn]
    private static void Throw(CudaError error, string action) => throw new CudaException(error, action);
}
