using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using MambaCuda.Driver;

namespace MambaCuda.Validation;

/// <summary>
/// Builds the CPU as a CUDA device (native/host) with g++: libcuda and libnvrtc that run the same kernels where there is no GPU. Once for
/// each state of its sources.
/// </summary>
public static class HostDeviceBuild
{
    private const string DriverName = "libcuda.so.1";
    private const string CompilerName = "libnvrtc.so.13";
    private const string CacheVariable = "MAMBACUDA_CACHE_DIR";

    /// <summary>Whether this machine has a GPU: what the driver of a real one makes. The library alone may be a toolkit's stub.</summary>
    public static bool MachineHasGpu => OperatingSystem.IsWindows() || File.Exists("/dev/nvidiactl") || File.Exists("/dev/dxg");

    /// <summary>Whether a folder has a host device that is built.</summary>
    public static bool IsBuiltIn(string folder) =>
        File.Exists(Path.Combine(folder, DriverName)) && File.Exists(Path.Combine(folder, CompilerName));

    /// <summary>
    /// The variables of a process that is to take the host device of a folder. Compiled kernels are kept beside the device, so that those
    /// of another state of it are never taken.
    /// </summary>
    public static IReadOnlyDictionary<string, string?> Variables(string folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        Dictionary<string, string?> variables = new() { [LibraryFinder.PathVariable] = folder };
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable(CacheVariable)))
        {
            variables[CacheVariable] = Path.Combine(folder, "kernels");
        }

        return variables;
    }

    /// <summary>Makes the host device of a folder the CUDA device of this process, which must not have used MambaCuda.Driver yet.</summary>
    public static void Use(string folder)
    {
        foreach ((string name, string? value) in Variables(folder))
        {
            Environment.SetEnvironmentVariable(name, value);
        }
    }

    /// <summary>Builds it, where it is not built yet, into a folder of temporary files.</summary>
    /// <param name="sources">The folder native/host of the repository.</param>
    /// <returns>The folder of the two libraries; or why they cannot be built.</returns>
    /// <exception cref="InvalidOperationException">The sources do not compile.</exception>
    public static (string? Folder, string? Problem) From(string sources)
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture is not (Architecture.X64 or Architecture.Arm64))
        {
            return (null, "The host device runs on Linux on x86-64 and arm64.");
        }

        if (!Directory.Exists(Path.Combine(sources, "driver")))
        {
            return (null, $"The host device's sources are not at {sources}.");
        }

        string folder = Path.Combine(Path.GetTempPath(), $"mambacuda-host-device-{Environment.UserName}-{HashOf(sources)}");
        if (!File.Exists(Path.Combine(folder, CompilerName)))
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
            () => problems[0] = Run(["-flto=auto", "-fno-semantic-interposition", "-pthread", "-o", Path.Combine(folder, DriverName), .. driver]),
            () => problems[1] = Run([$"-Wa,-I{sources}", "-o", Path.Combine(folder, CompilerName), .. nvrtc]));
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
