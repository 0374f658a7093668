using System.Globalization;

namespace MambaCuda.Driver;

/// <summary>There is not as much memory as was asked for: on the device, or on the host for memory that the device reads.</summary>
public sealed class DeviceOutOfMemoryException : CudaException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="action">What was being done.</param>
    /// <param name="requestedBytes">How much was asked for.</param>
    /// <param name="memory">How much the device has.</param>
    public DeviceOutOfMemoryException(string action, long requestedBytes, DeviceMemoryInfo memory)
        : base(CudaError.OutOfMemory, action, Describe(requestedBytes, memory))
    {
        RequestedBytes = requestedBytes;
        FreeBytes = memory.FreeBytes;
        TotalBytes = memory.TotalBytes;
    }

    /// <summary>How much was asked for.</summary>
    public long RequestedBytes { get; }

    /// <summary>How much device memory was free just after the failure, over all processes.</summary>
    public long FreeBytes { get; }

    /// <summary>How much memory the device has.</summary>
    public long TotalBytes { get; }

    private static string Describe(long requested, DeviceMemoryInfo memory) => string.Create(
        CultureInfo.InvariantCulture,
        $"Asked for {requested:N0} bytes; of the device's {memory.TotalBytes:N0} bytes, {memory.FreeBytes:N0} are free.");
}
