using MambaCuda.Driver;
using MambaCuda.Kernels;
using MambaCuda.Validation;

namespace MambaCuda.Cli;

/// <summary>What rows are validated on, and why on that.</summary>
/// <param name="UsesCuda">Whether it is a CUDA device, the host device included; else the CPU backend.</param>
/// <param name="Reason">Why it was chosen, for people.</param>
internal sealed record ValidationDevice(bool UsesCuda, string Reason)
{
    private static readonly DataType[] CudaTypes = [DataType.Float32, DataType.BFloat16, DataType.Float16];

    /// <summary>
    /// Chooses. The host device must be chosen before anything asks for CUDA's libraries: a process looks for them once.
    /// </summary>
    /// <param name="wanted">auto, cuda, host or cpu.</param>
    /// <param name="hostFolder">Where the host device or its sources are; null to look for them.</param>
    /// <exception cref="CudaUnavailableException">What was asked for is not there; the message says why and what to do.</exception>
    public static ValidationDevice Choose(string wanted, string? hostFolder)
    {
        if (hostFolder is not null && wanted is "cpu" or "cuda")
        {
            throw new UsageException($"--host-device is of no use with --device {wanted}.");
        }

        switch (wanted)
        {
            case "cpu":
                return new ValidationDevice(UsesCuda: false, "--device cpu");
            case "cuda":
                return CudaBackend.WhyUnavailable() is { } problem
                    ? throw new CudaUnavailableException($"--device cuda: {problem}")
                    : new ValidationDevice(UsesCuda: true, "--device cuda");
            case "host":
                return Host(hostFolder, out string? why) ?? throw new CudaUnavailableException($"--device host: {why}");
            default:
                return Auto(hostFolder);
        }
    }

    /// <summary>A backend for each type of activations, or for the one that is wanted.</summary>
    public IReadOnlyList<Backend> Open(DataType? type)
    {
        if (!UsesCuda)
        {
            return type is null or DataType.Float32 ? [new CpuBackend()] : throw new UsageException(
                $"--dtype {StoredValues.ShortName(type.Value)}: the CPU computes with fp32 activations, and no CUDA device is used.");
        }

        DataType[] types = type is { } one ? [one] : CudaTypes;
        return [.. types.Select(each => new CudaBackend(new CudaBackendOptions { ActivationType = each }))];
    }

    private static ValidationDevice Auto(string? hostFolder)
    {
        bool isNamed = Environment.GetEnvironmentVariable(LibraryFinder.PathVariable) is { Length: > 0 };
        if ((isNamed && hostFolder is null) || HostDeviceBuild.MachineHasGpu)
        {
            return CudaBackend.WhyUnavailable() is { } problem
                ? new ValidationDevice(UsesCuda: false, $"auto, not cuda: {problem}")
                : new ValidationDevice(UsesCuda: true, isNamed ? $"auto, {LibraryFinder.PathVariable}" : "auto");
        }

        return Host(hostFolder, out string? why) is { } host
            ? host with { Reason = $"auto, there is no GPU; {host.Reason}" }
            : new ValidationDevice(UsesCuda: false, $"auto, there is no GPU, and no host device: {why}");
    }

    /// <summary>Takes the host device into use; null, and why, where it is not to be had.</summary>
    private static ValidationDevice? Host(string? given, out string? why)
    {
        string? place = given ?? Environment.GetEnvironmentVariable(LibraryFinder.PathVariable) switch
        {
            { Length: > 0 } named => named,
            _ => FindSources(),
        };
        if (place is null)
        {
            why = "neither the current folder nor one above it has native/host. Name it, or a folder where it is built, by --host-device.";
            return null;
        }

        string? folder = place;
        if (!HostDeviceBuild.IsBuiltIn(place))
        {
            (folder, why) = HostDeviceBuild.From(place);
            if (folder is null)
            {
                return null;
            }
        }

        HostDeviceBuild.Use(folder);
        why = CudaBackend.WhyUnavailable();
        if (why is null && CudaDriver.Search.Path?.StartsWith(folder, StringComparison.Ordinal) != true)
        {
            why = $"this process uses {CudaDriver.Search.Path} already.";
        }

        return why is null ? new ValidationDevice(UsesCuda: true, $"host device of {place}") : null;
    }

    private static string? FindSources()
    {
        for (DirectoryInfo? folder = new(Environment.CurrentDirectory); folder is not null; folder = folder.Parent)
        {
            string sources = Path.Combine(folder.FullName, "native", "host");
            if (Directory.Exists(sources))
            {
                return sources;
            }
        }

        return null;
    }
}
