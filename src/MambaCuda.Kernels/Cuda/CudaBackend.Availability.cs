using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CudaBackend
{
    /// <summary>Looks whether a device can be opened here, without opening it.</summary>
    /// <param name="device">The number of the device, as CUDA_VISIBLE_DEVICES lets it be seen.</param>
    /// <returns>Why not, as sentences that say what to do; null where it can.</returns>
    public static string? WhyUnavailable(int device = 0)
    {
        if (CudaDriver.Problem is { } problem)
        {
            return problem;
        }

        try
        {
            CudaDevice card = CudaDevice.Get(device);
            if (WhyTooOld(card) is { } tooOld)
            {
                return tooOld;
            }

            // The exception would list every place that was looked into.
            if (!RuntimeCompiler.Search.IsFound)
            {
                return $"NVRTC, which compiles kernels for {card.Name}, was not found. {CudaLibrary.Nvrtc.Remedy}";
            }

            _ = RuntimeCompiler.Load().ArchitectureFor(card.ComputeCapability);
            return null;
        }
        catch (Exception exception) when (exception is CudaUnavailableException or CudaException or NvrtcException or UnsupportedArchitectureException
            or ArgumentOutOfRangeException)
        {
            return exception.Message;
        }
    }

    private static string? WhyTooOld(CudaDevice device) => device.ComputeCapability < OldestCapability
        ? $"{device} has compute capability {device.ComputeCapability}; MambaCuda needs {OldestCapability} (Turing, 2018) or later. Use the CPU."
        : null;
}
