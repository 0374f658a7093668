namespace MambaCuda.Driver;

/// <summary>
/// Compiled programs on disk, one file each. Any number of processes can use one folder: files are written aside and renamed, so that
/// nobody reads half a one. Nothing that is wrong with the disk is an error: then programs are compiled again.
/// </summary>
public sealed class KernelCache
{
    /// <summary>The variable that names another folder.</summary>
    public const string FolderVariable = "MAMBACUDA_CACHE_DIR";

    private const string EntryExtension = ".kernel";
    private const string TemporaryExtension = ".tmp";
    private static readonly TimeSpan AbandonedAfter = TimeSpan.FromHours(1);

    private volatile string? _problem;
    private int _swept;

    /// <summary>A cache in a folder, which is created when something is first written.</summary>
    public KernelCache(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        Folder = Path.GetFullPath(folder);
    }

    /// <summary>
    /// The cache in the folder that <c>MAMBACUDA_CACHE_DIR</c> names, else in the user's cache folder; null where the user has none.
    /// </summary>
    public static KernelCache? OfUser => FolderOfUser() is string folder ? new KernelCache(folder) : null;

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>Why the last attempt to read or write failed; null where it did not.</summary>
    public string? Problem => _problem;

    /// <summary>Deletes all entries.</summary>
    /// <exception cref="IOException">One cannot be deleted.</exception>
    public void Clear()
    {
        if (Directory.Exists(Folder))
        {
            foreach (string file in Directory.EnumerateFiles(Folder, "*" + EntryExtension))
            {
                File.Delete(file);
            }
        }
    }

    internal CompiledProgram? Read(byte[] key, GpuArchitecture architecture)
    {
        try
        {
            byte[] entry = File.ReadAllBytes(PathOf(key));
            _problem = null;
            return CacheEntry.Read(key, architecture, entry);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _problem = exception.Message;
            return null;
        }
    }

    internal void Write(byte[] key, CompiledProgram program)
    {
        string path = PathOf(key);
        string temporary = $"{path}.{Guid.NewGuid():N}{TemporaryExtension}";
        try
        {
            CreateFolder();
            SweepOnce();
            File.WriteAllBytes(temporary, CacheEntry.Write(key, program));
            File.Move(temporary, path, overwrite: true);
            _problem = null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _problem = exception.Message;
            TryDelete(temporary);
        }
    }

    private string PathOf(byte[] key) => Path.Combine(Folder, Convert.ToHexStringLower(key) + EntryExtension);

    // What is run on the GPU is read from here, so nobody else may write it.
    private void CreateFolder()
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(Folder);
        }
        else
        {
            Directory.CreateDirectory(Folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    // A process that was killed while writing leaves its temporary file.
    private void SweepOnce()
    {
        if (Interlocked.Exchange(ref _swept, 1) != 0)
        {
            return;
        }

        DateTime limit = DateTime.UtcNow - AbandonedAfter;
        IEnumerable<string> temporary = Directory.EnumerateFiles(Folder, "*" + TemporaryExtension);
        foreach (string file in temporary.Where(file => File.GetLastWriteTimeUtc(file) < limit))
        {
            TryDelete(file);
        }
    }

    private static void TryDelete(string file)
    {
        try
        {
            File.Delete(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // The next process that writes tries again.
        }
    }

    private static string? FolderOfUser()
    {
        if (Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } named)
        {
            return named;
        }

        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);
        string root = OperatingSystem.IsWindows() ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
            : Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is string cache && Path.IsPathRooted(cache) ? cache
            : home.Length == 0 ? ""
            : OperatingSystem.IsMacOS() ? Path.Combine(home, "Library", "Caches")
            : Path.Combine(home, ".cache");
        return root.Length == 0 ? null : Path.Combine(root, "mamba-cuda", "kernels");
    }
}
