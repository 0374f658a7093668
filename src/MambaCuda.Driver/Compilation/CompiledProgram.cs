namespace MambaCuda.Driver;

/// <summary>
/// What came out of compiling a <see cref="KernelProgram"/>: a cubin or a PTX text, for <see cref="CudaContext.LoadModule"/>.
/// </summary>
public sealed class CompiledProgram
{
    private readonly IReadOnlyDictionary<string, string> _loweredNames;

    internal CompiledProgram(
        GpuArchitecture architecture, byte[] image, IReadOnlyDictionary<string, string> loweredNames, string log, bool isFromCache)
    {
        Architecture = architecture;
        Image = image;
        Log = log;
        IsFromCache = isFromCache;
        _loweredNames = loweredNames;
    }

    /// <summary>What it was compiled for; a virtual architecture means that the image is PTX.</summary>
    public GpuArchitecture Architecture { get; }

    /// <summary>The cubin or the PTX text.</summary>
    public ReadOnlyMemory<byte> Image { get; }

    /// <summary>What the compiler said: warnings, or nothing.</summary>
    public string Log { get; }

    /// <summary>Whether it was read from the disk cache, so that the compiler did not run.</summary>
    public bool IsFromCache { get; }

    /// <summary>The name in the binary of each name expression.</summary>
    public IReadOnlyDictionary<string, string> LoweredNames => _loweredNames;

    /// <summary>The name in the binary of a name expression, for <see cref="CudaModule.GetKernel"/>.</summary>
    /// <exception cref="ArgumentException">It was not among the program's name expressions.</exception>
    public string LoweredName(string expression) => _loweredNames.TryGetValue(expression, out string? name)
        ? name
        : throw new ArgumentException(
            $"'{expression}' is not among the program's name expressions: {string.Join(", ", _loweredNames.Keys)}.", nameof(expression));
}
