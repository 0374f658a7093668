using System.Text.RegularExpressions;

namespace MambaCuda.Driver;

/// <summary>The places where NVIDIA's libraries are found, in the order in which they are looked through.</summary>
internal static partial class LibraryPlaces
{
    public static IEnumerable<LibraryPlace> For(CudaLibrary library, SearchEnvironment environment)
    {
        yield return Named(LibraryFinder.PathVariable, environment, folder => [folder]);
        yield return Existing("application folder", ApplicationFolders(environment));
        if (!library.ComesWithDriver)
        {
            yield return Named("CUDA_HOME", environment, root => ToolkitFolders(root, environment));
            yield return Named("CUDA_PATH", environment, root => ToolkitFolders(root, environment));
            foreach (LibraryPlace place in PythonPlaces(environment))
            {
                yield return place;
            }
        }

        if (!environment.IsWindows)
        {
            yield return Existing("Windows Subsystem for Linux", [Path.Combine(environment.SystemRoot, "usr/lib/wsl/lib")]);
        }

        yield return new LibraryPlace("system", [], IsSystemSearch: true);
        yield return library.ComesWithDriver
            ? Existing("driver folders of containers and NixOS", DriverFolders(environment))
            : Existing("CUDA Toolkit's default folder", DefaultToolkitFolders(environment));
    }

    private static LibraryPlace Named(string variable, SearchEnvironment environment, Func<string, IEnumerable<string>> folders) =>
        environment.Variable(variable) is { Length: > 0 } value
            ? Existing($"{variable}={value}", Parts(value, environment).SelectMany(folders))
            : new LibraryPlace(variable, [], Note: "not set");

    private static LibraryPlace Existing(string title, IEnumerable<string> candidates)
    {
        string[] all = [.. candidates.Distinct()];
        string[] existing = [.. all.Where(Directory.Exists)];
        string? note = existing.Length > 0 ? null : all.Length == 0 ? "none" : $"no folder {string.Join(" or ", all)}";
        return new LibraryPlace(title, existing, Note: note);
    }

    private static string[] Parts(string list, SearchEnvironment environment) =>
        list.Split(environment.IsWindows ? ';' : ':', StringSplitOptions.RemoveEmptyEntries);

    private static IEnumerable<string> ApplicationFolders(SearchEnvironment environment) =>
    [
        environment.ApplicationFolder,
        Path.Combine(environment.ApplicationFolder, "runtimes", environment.RuntimeIdentifier, "native"),
    ];

    private static IEnumerable<string> ToolkitFolders(string root, SearchEnvironment environment) => environment.IsWindows
        ? [Path.Combine(root, "bin", "x64"), Path.Combine(root, "bin")]
        : [Path.Combine(root, "lib64"), Path.Combine(root, "lib"), .. Matching(Path.Combine(root, "targets"), "*", "lib")];

    private static IEnumerable<string> DefaultToolkitFolders(SearchEnvironment environment)
    {
        if (environment.IsWindows)
        {
            string toolkits = Path.Combine(environment.ProgramsFolder, "NVIDIA GPU Computing Toolkit", "CUDA");
            return Matching(toolkits, "v*").SelectMany(root => ToolkitFolders(root, environment));
        }

        string local = Path.Combine(environment.SystemRoot, "usr/local");
        IEnumerable<string> roots = [Path.Combine(local, "cuda"), .. Matching(local, "cuda-*")];
        return roots.SelectMany(root => ToolkitFolders(root, environment));
    }

    private static IEnumerable<string> DriverFolders(SearchEnvironment environment) => environment.IsWindows
        ? []
        :
        [
            Path.Combine(environment.SystemRoot, "usr/local/nvidia/lib64"),
            Path.Combine(environment.SystemRoot, "run/opengl-driver/lib"),
        ];

    private static IEnumerable<LibraryPlace> PythonPlaces(SearchEnvironment environment)
    {
        foreach (string variable in (string[])["VIRTUAL_ENV", "CONDA_PREFIX"])
        {
            yield return Named(variable, environment, root =>
                PipFolders(SitePackages(root, environment)).Concat(CondaFolders(root, environment)));
        }

        IEnumerable<string> onPath = PythonsOnPath(environment).SelectMany(root => SitePackages(root, environment));
        yield return Existing("pip packages of the python on PATH", PipFolders(onPath));
        yield return Existing("pip packages of the user", PipFolders(UserSitePackages(environment)));
        if (!environment.IsWindows)
        {
            IEnumerable<string> prefixes = [Path.Combine(environment.SystemRoot, "usr/local"), Path.Combine(environment.SystemRoot, "usr")];
            yield return Existing("pip packages of the system", PipFolders(prefixes.SelectMany(root => SitePackages(root, environment))));
        }
    }

    // conda's own packages put libraries beside Python's, not under it.
    private static IEnumerable<string> CondaFolders(string root, SearchEnvironment environment) => environment.IsWindows
        ? [Path.Combine(root, "Library", "bin"), Path.Combine(root, "Library", "bin", "x64")]
        : [Path.Combine(root, "lib")];

    private static IEnumerable<string> SitePackages(string prefix, SearchEnvironment environment) => environment.IsWindows
        ? [Path.Combine(prefix, "Lib", "site-packages")]
        :
        [
            .. Matching(Path.Combine(prefix, "lib"), "python3*", "site-packages"),
            .. Matching(Path.Combine(prefix, "lib"), "python3*", "dist-packages"),
        ];

    private static IEnumerable<string> UserSitePackages(SearchEnvironment environment) => environment.IsWindows
        ? Matching(Path.Combine(environment.RoamingFolder, "Python"), "Python3*", "site-packages")
        : SitePackages(Path.Combine(environment.HomeFolder, ".local"), environment);

    private static IEnumerable<string> PythonsOnPath(SearchEnvironment environment)
    {
        string python = environment.IsWindows ? "python.exe" : "python3";
        return Parts(environment.Variable("PATH") ?? "", environment)
            .Where(folder => File.Exists(Path.Combine(folder, python)))
            .Select(folder => environment.IsWindows ? folder : Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(folder)))
            .OfType<string>();
    }

    // CUDA 13's wheels share one folder (nvidia/cu13), earlier ones have one each (nvidia/cuda_nvrtc).
    private static IEnumerable<string> PipFolders(IEnumerable<string> sitePackages) => sitePackages
        .Select(folder => Path.Combine(folder, "nvidia"))
        .SelectMany(nvidia => (IEnumerable<string>)
        [
            .. Matching(nvidia, "*", "lib"),
            .. Matching(nvidia, "*", Path.Combine("bin", "x86_64")),
            .. Matching(nvidia, "*", "bin"),
        ]);

    /// <summary>The folders of a pattern, higher numbers first, each with a part appended.</summary>
    private static IEnumerable<string> Matching(string folder, string pattern, string part = "")
    {
        try
        {
            return
            [
                .. Directory.GetDirectories(folder, pattern)
                    .OrderByDescending(NumbersPadded, StringComparer.Ordinal)
                    .Select(found => Path.Combine(found, part))
                    .Where(Directory.Exists),
            ];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    // So that 3.12 comes after 3.9.
    private static string NumbersPadded(string text) => Numbers().Replace(text, number => number.Value.PadLeft(6, '0'));

    [GeneratedRegex(@"\d+", RegexOptions.CultureInvariant)]
    private static partial Regex Numbers();
}
