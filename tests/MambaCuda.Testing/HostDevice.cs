using MambaCuda.Driver;
using MambaCuda.Validation;

namespace MambaCuda.Testing;

/// <summary>
/// The CPU as a CUDA device (native/host): libcuda and libnvrtc that run the same kernels where there is no GPU. Built with g++ when first
/// needed, once for each state of its sources.
/// </summary>
public static class HostDevice
{
    /// <summary>The variable that MambaCuda.Driver finds CUDA's libraries by.</summary>
    public const string PathVariable = LibraryFinder.PathVariable;

    private static readonly Lazy<(string? Folder, string? Problem)> Built =
        new(() => HostDeviceBuild.From(Path.Combine(Fixtures.RepositoryRoot, "native", "host")));

    /// <summary>The folder with libcuda.so.1 and libnvrtc.so.13, for <see cref="PathVariable"/>; null where they cannot be built.</summary>
    public static string? Folder => Built.Value.Folder;

    /// <summary>Why they cannot be built, for a test that is skipped then; null where they are.</summary>
    public static string? Problem => Built.Value.Problem;

    /// <summary>
    /// Whether the host device is the CUDA device of this process: each instance of a kernel takes a second to compile then, and runs a
    /// thousand times more slowly than on a GPU. Builds nothing where the process was not told to take a library.
    /// </summary>
    public static bool IsInUse => Environment.GetEnvironmentVariable(PathVariable) is { Length: > 0 } path && path == Folder;

    /// <summary>
    /// Makes the host device the CUDA device of this process, where it has no real one and was not told which to take. Must run before
    /// anything of MambaCuda.Driver: call it from a module initializer of the test project. MAMBACUDA_HOST_... variables must stand in the
    /// environment that the process is started with.
    /// </summary>
    public static void UseWhereThereIsNoGpu()
    {
        bool isDecided = Environment.GetEnvironmentVariable(PathVariable) is { Length: > 0 };
        if (!isDecided && !HostDeviceBuild.MachineHasGpu && Folder is string folder)
        {
            HostDeviceBuild.Use(folder);
        }
    }

    /// <summary>The variables for a process that is to take the host device of a folder.</summary>
    public static IReadOnlyDictionary<string, string?> Variables(string folder) => HostDeviceBuild.Variables(folder);
}
