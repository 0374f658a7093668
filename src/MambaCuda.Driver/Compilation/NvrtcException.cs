using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>A function of NVRTC failed for another reason than what the program says.</summary>
public sealed class NvrtcException : Exception
{
    internal NvrtcException(int error, string action) : this(error, action, NameOf(error))
    {
    }

    private NvrtcException(int error, string action, string name) : base($"{name} while {action}.")
    {
        Error = error;
        ErrorName = name;
        Action = action;
    }

    /// <summary>NVRTC's number for what went wrong (nvrtcResult).</summary>
    public int Error { get; }

    /// <summary>NVRTC's name for it, as in NVRTC_ERROR_OUT_OF_MEMORY.</summary>
    public string ErrorName { get; }

    /// <summary>What was being done.</summary>
    public string Action { get; }

    internal static void ThrowIfFailed(int error, string action)
    {
        if (error != 0)
        {
            throw new NvrtcException(error, action);
        }
    }

    internal static unsafe string NameOf(int error) =>
        Marshal.PtrToStringUTF8((nint)NvrtcApi.nvrtcGetErrorString(error)) is { Length: > 0 } name ? name : $"NVRTC error {error}";
}
