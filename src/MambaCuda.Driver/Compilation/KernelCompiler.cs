namespace MambaCuda.Driver;

/// <summary>
/// Compiles programs for a device, and keeps what came out on disk, so that the next process need not compile. Can be used by many threads.
/// </summary>
public sealed class KernelCompiler
{
    // Headers come with the program and from nowhere else: what the key does not cover must not change what comes out.
    private const string NoFiles = "--no-source-include";
    private static readonly string[] OptionsThatReadFiles =
        ["-I", "--include-path", "-include", "--pre-include", "-pch", "--pch", "--use-pch", "--create-pch"];

    private readonly RuntimeCompiler _compiler;
    private int _compilations;
    private int _cacheHits;

    /// <summary>A compiler over NVRTC and a cache.</summary>
    /// <param name="compiler">NVRTC.</param>
    /// <param name="cache">Where to keep what came out; null to keep nothing.</param>
    public KernelCompiler(RuntimeCompiler compiler, KernelCache? cache)
    {
        ArgumentNullException.ThrowIfNull(compiler);
        _compiler = compiler;
        Cache = cache;
    }

    /// <summary>A compiler over the NVRTC of this machine and the user's cache.</summary>
    /// <exception cref="MissingLibraryException">NVRTC is not there.</exception>
    public KernelCompiler() : this(RuntimeCompiler.Load(), KernelCache.OfUser)
    {
    }

    /// <summary>Where compiled programs are kept; null where they are not.</summary>
    public KernelCache? Cache { get; }

    /// <summary>How often this instance ran NVRTC to the end.</summary>
    public int CompilationCount => Volatile.Read(ref _compilations);

    /// <summary>How often this instance found in the cache what it was asked for.</summary>
    public int CacheHitCount => Volatile.Read(ref _cacheHits);

    /// <summary>Compiles for a device: for its own architecture where NVRTC knows it, else PTX that the device can run.</summary>
    /// <param name="program">The program.</param>
    /// <param name="device">The device's generation.</param>
    /// <exception cref="KernelCompilationException">It does not compile; the exception has file, line and log.</exception>
    /// <exception cref="UnsupportedArchitectureException">NVRTC compiles for nothing that the device can run.</exception>
    /// <exception cref="ArgumentException">An option makes NVRTC read files: headers belong into
    /// <see cref="KernelProgram.Headers"/>.</exception>
    public CompiledProgram Compile(KernelProgram program, ComputeCapability device) => Compile(program, _compiler.ArchitectureFor(device));

    /// <summary>Compiles for an architecture: a real one gives a cubin, a virtual one PTX.</summary>
    /// <param name="program">The program.</param>
    /// <param name="architecture">The architecture.</param>
    /// <exception cref="KernelCompilationException">It does not compile; the exception has file, line and log.</exception>
    /// <exception cref="ArgumentException">An option makes NVRTC read files: headers belong into
    /// <see cref="KernelProgram.Headers"/>.</exception>
    public CompiledProgram Compile(KernelProgram program, GpuArchitecture architecture)
    {
        ArgumentNullException.ThrowIfNull(program);
        CheckOptions(program);
        string[] options = OptionsOf(program, architecture);
        byte[] key = CacheKey.Of(_compiler.Identity, program, architecture, options);
        if (Cache?.Read(key, architecture) is { } cached)
        {
            Interlocked.Increment(ref _cacheHits);
            return cached;
        }

        CompiledProgram compiled = _compiler.Compile(program, architecture, options);
        Interlocked.Increment(ref _compilations);
        Cache?.Write(key, compiled);
        return compiled;
    }

    /// <summary>All options for a program; none lets anything in that the program does not hold.</summary>
    internal static string[] OptionsOf(KernelProgram program, GpuArchitecture architecture) =>
        [.. RuntimeCompiler.OptionsOf(program, architecture), NoFiles];

    private static void CheckOptions(KernelProgram program)
    {
        foreach (string option in program.Options)
        {
            if (OptionsThatReadFiles.Any(reading => option.StartsWith(reading, StringComparison.Ordinal)))
            {
                throw new ArgumentException(
                    $"{program.Name}: the option {option} makes the compiler read files, whose contents the cache knows nothing of; "
                    + $"give headers as {nameof(KernelProgram.Headers)}.",
                    nameof(program));
            }
        }
    }
}
