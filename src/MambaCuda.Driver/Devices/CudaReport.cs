using System.Globalization;
using System.Text;

namespace MambaCuda.Driver;

/// <summary>What of CUDA there is on this machine, and where it was looked for.</summary>
public sealed class CudaReport
{
    private const double BytesPerGiB = 1024.0 * 1024 * 1024;

    private CudaReport()
    {
        DriverSearch = CudaDriver.Search;
        DriverVersion = CudaDriver.Version;
        DriverProblem = CudaDriver.Problem;
        Devices = CudaDevice.All;
        NvrtcSearch = RuntimeCompiler.Search;
        CacheFolder = KernelCache.OfUser?.Folder;
        try
        {
            RuntimeCompiler compiler = RuntimeCompiler.Load();
            NvrtcVersion = compiler.Version;
            NvrtcArchitectures = compiler.SupportedArchitectures;
        }
        catch (MissingLibraryException)
        {
            NvrtcProblem = $"Not found. {CudaLibrary.Nvrtc.Remedy}";
        }
        catch (Exception exception) when (exception is CudaUnavailableException or NvrtcException)
        {
            NvrtcProblem = exception.Message;
        }
    }

    /// <summary>Looks at the machine. Does not throw where something is missing.</summary>
    public static CudaReport Create() => new();

    /// <summary>How the driver was looked for.</summary>
    public LibrarySearch DriverSearch { get; }

    /// <summary>The CUDA version that the driver supports; null where there is no driver.</summary>
    public CudaVersion? DriverVersion { get; }

    /// <summary>Why the driver cannot be used; null where it can.</summary>
    public string? DriverProblem { get; }

    /// <summary>The devices.</summary>
    public IReadOnlyList<CudaDevice> Devices { get; }

    /// <summary>How NVRTC was looked for.</summary>
    public LibrarySearch NvrtcSearch { get; }

    /// <summary>NVRTC's version; null where it cannot be used.</summary>
    public CudaVersion? NvrtcVersion { get; }

    /// <summary>What NVRTC compiles for, oldest first.</summary>
    public IReadOnlyList<ComputeCapability> NvrtcArchitectures { get; } = [];

    /// <summary>Why NVRTC cannot be used; null where it can.</summary>
    public string? NvrtcProblem { get; }

    /// <summary>Where compiled kernels are kept; null where the user has no cache folder.</summary>
    public string? CacheFolder { get; }

    /// <summary>Whether kernels can be compiled and run.</summary>
    public bool IsUsable => DriverProblem is null && NvrtcProblem is null;

    /// <summary>The report for people, in lines.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        Line(text, $"CUDA driver: {Describe(DriverVersion, DriverSearch)}");
        if (DriverProblem is not null)
        {
            Line(text, $"  {DriverProblem}");
        }

        foreach (CudaDevice device in Devices)
        {
            Line(text, $"  {Describe(device)}");
        }

        Line(text, $"NVRTC: {Describe(NvrtcVersion, NvrtcSearch)}");
        Line(text, $"  {NvrtcProblem ?? $"compiles for compute capability {string.Join(", ", NvrtcArchitectures)}"}");
        Line(text, $"Kernel cache: {CacheFolder ?? "none"}");
        foreach (LibrarySearch search in (LibrarySearch[])[DriverSearch, NvrtcSearch])
        {
            Line(text, $"Searched for {search.Library.Title}:");
            foreach (LibraryAttempt attempt in search.Attempts)
            {
                Line(text, $"  {attempt}");
            }
        }

        return text.ToString();
    }

    private static void Line(StringBuilder text, string line) => text.Append(line).Append('\n');

    private static string Describe(CudaVersion? version, LibrarySearch search) =>
        version is null ? "none" : $"CUDA {version}, {search.Path ?? "found by the system"}";

    private static string Describe(CudaDevice device) => string.Create(
        CultureInfo.InvariantCulture,
        $"GPU {device.Ordinal}: {device.Name}, compute capability {device.ComputeCapability}, "
        + $"{device.MultiprocessorCount} multiprocessors, {device.TotalMemory / BytesPerGiB:F1} GiB");
}
