using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace MambaCuda.Testing;

/// <summary>
/// The CPU as a CUDA device (native/host): libcuda and libnvrtc that run the same kernels where there is no GPU. Built with g++ when first
/// needed, once for each state of its sources.
/// </summary>
public static class HostDevice
{
    /// <summary>The variable that MambaCuda.Driver finds CUDA's libraries by.</summary>
    public const string PathVariable = "MAMBACUDA_LIBRARY_PATH";

    private const string CacheVariable = "MAMBACUDA_CACHE_DIR";
    private static readonly Lazy<(string? Folder, string? Problem)> Built = new(Build);

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
    /// anything of MambaCuda.Driver: call it from a module initializer of the test project. Compiled kernels are kept beside the device, so
    /// that those of another state of it are never taken. MAMBACUDA_HOST_... variables must stand in the environment that the process is
    /// started with.
    /// </summary>
    public static void UseWhereThereIsNoGpu()
    {
        bool isDecided = Environment.GetEnvironmentVariable(PathVariable) is { Length: > 0 };
        if (!isDecided && !HasGpu() && Folder is string folder)
        {
            foreach ((string name, string? value) in Variables(folder))
            {
                Environment.SetEnvironmentVariable(name, value);
            }
        }
    }

    /// <summary>The variables for a process that is to take the host device of a folder.</summary>
    public static IReadOnlyDictionary<string, string?> Variables(string folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        Dictionary<string, string?> variables = new() { [PathVariable] = folder };
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable(CacheVariable)))
        {
            variables[CacheVariable] = Path.Combine(folder, "kernels");
        }

        return variables;
    }

    // What the driver of a real one makes; the library alone may be a toolkit's stub.
    private static bool HasGpu() => OperatingSystem.IsWindows() || File.Exists("/dev/nvidiactl") || File.Exists("/dev/dxg");

    private static (string? Folder, string? Problem) Build()
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture is not (Architecture.X64 or Architecture.Arm64))
        {
            return (null, "The host device runs on Linux on x86-64 and arm64.");
        }

        string sources = Path.Combine(Fixtures.RepositoryRoot, "native", "host");
        if (!Directory.Exists(sources))
        {
            return (null, $"The host device's sources are not at {sources}.");
        }

        string folder = Path.Combine(Path.GetTempPath(), $"mambacuda-host-device-{Environment.UserName}-{HashOf(sources)}");
        if (!File.Exists(Path.Combine(folder, "libnvrtc.so.13")))
        {
            string aside = Directory.CreateTempSubdirectory("mambacuda-host-device-").FullName;
            string? problem = Compile(sources, aside);
            if (problem is not null)
            {
                Directory.Delete(aside, recursive: true);
                return (null, problem);
            }

            Publish(aside, folder);
        }

        return (folder, null);
    }

    private static string HashOf(string sources)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in Directory.EnumerateFiles(sources, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes(Path.GetRelativePath(sources, file)));
            hash.AppendData(File.ReadAllBytes(file));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }

    // Another process may have been faster, with the same result.
    private static void Publish(string aside, string folder)
    {
        try
        {
            Directory.Move(aside, folder);
        }
        catch (IOException) when (Directory.Exists(folder))
        {
            Directory.Delete(aside, recursive: true);
        }
    }

    private static string? Compile(string sources, string folder)
    {
        string[] driver = [.. Sources(sources, "driver"), .. Sources(sources, "execution"), Path.Combine(sources, "environment.cpp")];
        string[] nvrtc = [.. Sources(sources, "nvrtc"), Path.Combine(sources, "environment.cpp")];
        string?[] problems = new string?[2];
        Parallel.Invoke(
            () => problems[0] = Run(["-pthread", "-o", Path.Combine(folder, "libcuda.so.1"), .. driver]),
            () => problems[1] = Run([$"-Wa,-I{sources}", "-o", Path.Combine(folder, "libnvrtc.so.13"), .. nvrtc]));
        return problems[0] ?? problems[1];
    }

    private static IEnumerable<string> Sources(string root, string part) =>
        Directory.EnumerateFiles(Path.Combine(root, part), "*.cpp").Order(StringComparer.Ordinal);

    private static string? Run(string[] arguments)
    {
        try
        {
            ProcessStartInfo start = new("g++", ["-std=c++17", "-O2", "-fPIC", "-shared", .. arguments]) { RedirectStandardError = true };
            using Process compiler = Process.Start(start)!;
            string complaints = compiler.StandardError.ReadToEnd();
            compiler.WaitForExit();
            return compiler.ExitCode == 0
                ? null
                : throw new InvalidOperationException($"The host device does not compile:\n{complaints}");
        }
        catch (Win32Exception)
        {
            return "There is no g++, with which the host device is built.";
        }
    }
}
