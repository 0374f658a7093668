namespace MambaCuda.Driver;

/// <summary>The CUDA driver of this machine. Everything else here asks it first, so nobody needs to call it before use.</summary>
public static class CudaDriver
{
    private static readonly Lazy<State> Start = new(Load);

    /// <summary>The oldest driver that this library works with, by the CUDA version that it supports: 12.0, that is driver 525.</summary>
    public static CudaVersion MinimumVersion { get; } = new(12, 0);

    /// <summary>How the driver's library was looked for.</summary>
    public static LibrarySearch Search => Start.Value.Search;

    /// <summary>The CUDA version that the driver supports; null where there is no driver.</summary>
    public static CudaVersion? Version => Start.Value.Version;

    /// <summary>Why CUDA cannot be used here, as a sentence that says what to do; null where it can.</summary>
    public static string? Problem => Start.Value.Problem;

    /// <summary>Whether there is a driver, recent enough, and at least one device.</summary>
    public static bool IsAvailable => Problem is null;

    /// <summary>Whether functions of the driver can be called, usable or not. Never starts the search itself.</summary>
    internal static bool IsLoaded { get; private set; }

    /// <summary>Throws where CUDA cannot be used here.</summary>
    /// <exception cref="MissingLibraryException">There is no driver.</exception>
    /// <exception cref="CudaUnavailableException">The driver is too old, does not start, or finds no device.</exception>
    public static void ThrowIfUnavailable()
    {
        Search.ThrowIfMissing();
        if (Problem is string problem)
        {
            throw new CudaUnavailableException(problem);
        }
    }

    private static State Load()
    {
        LibrarySearch search = new LibraryFinder().Search(CudaLibrary.Driver);
        if (!search.IsFound)
        {
            return new State(search, null, $"No NVIDIA driver was found. {search.Library.Remedy}");
        }

        NativeImports.Bind(NativeImports.Cuda, search.Handle);
        IsLoaded = true;
        CudaError asked = CudaApi.cuDriverGetVersion(out int number);
        if (asked != CudaError.Success)
        {
            return new State(search, null, DoesNotStart(search, asked));
        }

        CudaVersion version = CudaVersion.FromNumber(number);
        if (version < MinimumVersion)
        {
            string problem = $"The NVIDIA driver ({search.Path}) supports CUDA {version}, but {MinimumVersion} is needed "
                + "(driver 525 or later). Install a newer driver: https://www.nvidia.com/drivers.";
            return new State(search, version, problem);
        }

        CudaError started = CudaApi.cuInit(0);
        return new State(search, version, started == CudaError.Success ? NoDevice(search) : DoesNotStart(search, started));
    }

    private static string? NoDevice(LibrarySearch search)
    {
        CudaError asked = CudaApi.cuDeviceGetCount(out int count);
        return asked != CudaError.Success ? DoesNotStart(search, asked) : count > 0 ? null : DoesNotStart(search, CudaError.NoDevice);
    }

    private static string DoesNotStart(LibrarySearch search, CudaError error)
    {
        string name = CudaException.NameOf(error);
        string visible = Environment.GetEnvironmentVariable("CUDA_VISIBLE_DEVICES") is string value
            ? $" CUDA_VISIBLE_DEVICES is \"{value}\", which may hide it."
            : "";
        return error switch
        {
            CudaError.NoDevice => $"The NVIDIA driver is there ({search.Path}), but it finds no GPU ({name}). "
                + $"See whether nvidia-smi lists one; a container must be started with --gpus.{visible}",
            CudaError.StubLibrary => $"{search.Path} is the CUDA Toolkit's stub for linking, not the driver ({name}). "
                + $"Take its folder out of the library path, or set {LibraryFinder.PathVariable} to the driver's folder.",
            CudaError.SystemDriverMismatch => $"The NVIDIA driver's library ({search.Path}) and its kernel module are of different "
                + $"versions ({name}). Restart the machine.",
            _ => $"The NVIDIA driver is there ({search.Path}), but does not start ({name}). See whether nvidia-smi works.",
        };
    }

    private sealed record State(LibrarySearch Search, CudaVersion? Version, string? Problem);
}
