using System.Globalization;

namespace MambaCuda.Driver;

/// <summary>
/// Programs compiled ahead of time: below a folder one for each architecture, as in sm_90, and in it files as a <see cref="KernelCache"/> has
/// them. A file is named by the SHA-256 of source, headers, options, instances and architecture, but not of the compiler, which may be
/// another where it is read. So what was made of other sources is never found, and what is damaged is not taken.
/// </summary>
public sealed class CubinFolder
{
    /// <summary>The variable that names another folder.</summary>
    public const string PathVariable = "MAMBACUDA_CUBIN_PATH";

    private const string ArchitecturePrefix = "sm_";

    /// <summary>A folder, which need not exist.</summary>
    public CubinFolder(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        Path = System.IO.Path.GetFullPath(path);
    }

    /// <summary>The folder that <c>MAMBACUDA_CUBIN_PATH</c> names, else <c>cubins</c> beside the application; null where there is none.</summary>
    public static CubinFolder? OfApplication
    {
        get
        {
            string? named = Environment.GetEnvironmentVariable(PathVariable);
            string path = string.IsNullOrEmpty(named) ? System.IO.Path.Combine(AppContext.BaseDirectory, "cubins") : named;
            return Directory.Exists(path) ? new CubinFolder(path) : null;
        }
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The generations that it has anything for, oldest first.</summary>
    public IReadOnlyList<ComputeCapability> Capabilities =>
    [
        .. from folder in Directory.Exists(Path) ? Directory.EnumerateDirectories(Path, ArchitecturePrefix + "*") : []
           let number = System.IO.Path.GetFileName(folder)[ArchitecturePrefix.Length..]
           where int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out _)
           orderby int.Parse(number, CultureInfo.InvariantCulture)
           select ComputeCapability.FromNumber(int.Parse(number, CultureInfo.InvariantCulture)),
    ];

    /// <summary>What was compiled of a program for an architecture; null where that is not here, or is not whole.</summary>
    public CompiledProgram? Read(KernelProgram program, GpuArchitecture architecture)
    {
        ArgumentNullException.ThrowIfNull(program);
        return FolderOf(architecture).Read(KeyOf(program, architecture), architecture);
    }

    /// <summary>Keeps what was compiled of a program.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void Write(KernelProgram program, CompiledProgram compiled)
    {
        ArgumentNullException.ThrowIfNull(program);
        ArgumentNullException.ThrowIfNull(compiled);
        KernelCache folder = FolderOf(compiled.Architecture);

        // A cache would make a folder for its user alone; this one is to be handed on.
        Directory.CreateDirectory(folder.Folder);
        folder.Write(KeyOf(program, compiled.Architecture), compiled);
        if (folder.Problem is { } problem)
        {
            throw new IOException(problem);
        }
    }

    private KernelCache FolderOf(GpuArchitecture architecture) => new(System.IO.Path.Combine(
        Path, string.Create(CultureInfo.InvariantCulture, $"{ArchitecturePrefix}{architecture.Capability.Number}")));

    private static byte[] KeyOf(KernelProgram program, GpuArchitecture architecture) =>
        CacheKey.Of(compiler: "", program, architecture, KernelCompiler.OptionsOf(program, architecture));
}
