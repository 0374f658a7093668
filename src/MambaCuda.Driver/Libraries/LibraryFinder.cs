using System.ComponentModel;
using System.Diagnostics;

namespace MambaCuda.Driver;

/// <summary>
/// Finds NVIDIA's libraries by looking through <c>MAMBACUDA_LIBRARY_PATH</c>, the application's folder, <c>CUDA_HOME</c> and
/// <c>CUDA_PATH</c>, pip's and conda's folders, WSL's, and what the system itself finds; in each place the newest version first.
/// A library once loaded stays loaded while the process lives.
/// </summary>
public sealed class LibraryFinder
{
    /// <summary>The variable with folders to look into before all others, separated as in PATH.</summary>
    public const string PathVariable = "MAMBACUDA_LIBRARY_PATH";

    private readonly SearchEnvironment _environment;

    /// <summary>A finder for this machine, with the environment's variables as they are at each search.</summary>
    public LibraryFinder() : this(SearchEnvironment.ThisMachine)
    {
    }

    internal LibraryFinder(SearchEnvironment environment)
    {
        _environment = environment;
    }

    /// <summary>Looks for a library and loads the first that can be loaded. Does not throw where there is none.</summary>
    public LibrarySearch Search(CudaLibrary library)
    {
        ArgumentNullException.ThrowIfNull(library);
        List<LibraryAttempt> attempts = [];
        foreach (LibraryPlace place in LibraryPlaces.For(library, _environment))
        {
            (nint handle, string? path) = place.IsSystemSearch ? AskSystem(library, place, attempts) : LookInto(library, place, attempts);
            if (handle != 0)
            {
                return new LibrarySearch(library, attempts, handle, path);
            }
        }

        return new LibrarySearch(library, attempts, 0, null);
    }

    private IReadOnlyList<string> NamesOf(CudaLibrary library) => _environment.IsWindows ? library.WindowsNames : library.LinuxNames;

    private (nint Handle, string? Path) LookInto(CudaLibrary library, LibraryPlace place, List<LibraryAttempt> attempts)
    {
        if (place.Folders.Count == 0)
        {
            attempts.Add(new LibraryAttempt(place.Title, null, place.Note ?? "no folder"));
            return default;
        }

        // Names outside, folders inside: a newer version in a later folder of the place wins.
        HashSet<string> withFile = [];
        foreach (string name in NamesOf(library))
        {
            foreach (string folder in place.Folders)
            {
                string path = Path.Combine(folder, name);
                if (!File.Exists(path))
                {
                    continue;
                }

                withFile.Add(folder);
                LoadCompanions(library, folder);
                (nint handle, string? problem) = _environment.Load(path);
                attempts.Add(new LibraryAttempt(place.Title, path, handle != 0 ? "loaded" : $"could not be loaded: {problem}"));
                if (handle != 0)
                {
                    return (handle, path);
                }
            }
        }

        string names = string.Join(", ", NamesOf(library));
        attempts.AddRange(place.Folders
            .Where(folder => !withFile.Contains(folder))
            .Select(folder => new LibraryAttempt(place.Title, folder, $"no {names}")));
        return default;
    }

    private (nint Handle, string? Path) AskSystem(CudaLibrary library, LibraryPlace place, List<LibraryAttempt> attempts)
    {
        foreach (string name in NamesOf(library))
        {
            (nint handle, _) = _environment.Load(name);
            if (handle != 0)
            {
                string? path = LoadedFile(name);
                attempts.Add(new LibraryAttempt(place.Title, path ?? name, "loaded"));
                return (handle, path);
            }
        }

        attempts.Add(new LibraryAttempt(place.Title, null, $"does not find {string.Join(", ", NamesOf(library))}"));
        return default;
    }

    // Failure is no matter here: the library itself reports what it misses.
    private void LoadCompanions(CudaLibrary library, string folder)
    {
        foreach (string companion in library.CompanionPatterns.SelectMany(pattern => Directory.EnumerateFiles(folder, pattern)))
        {
            _ = _environment.Load(companion);
        }
    }

    private static string? LoadedFile(string name)
    {
        // A loaded library appears under the name of the file that a link points to: libcuda.so.1 as libcuda.so.580.65.06.
        string stem = name.Split(".so", 2)[0];
        try
        {
            using Process process = Process.GetCurrentProcess();
            return process.Modules.Cast<ProcessModule>()
                .Select(module => module.FileName)
                .FirstOrDefault(file => Path.GetFileName(file) is string found
                    && (found.StartsWith(stem + ".so", StringComparison.Ordinal)
                        || found.Equals(name, StringComparison.OrdinalIgnoreCase)));
        }
        catch (Exception exception) when (exception is Win32Exception or InvalidOperationException or PlatformNotSupportedException)
        {
            return null;
        }
    }
}
