namespace MambaCuda.Driver;

/// <summary>CUDA C++ to be compiled: one source, what it includes, and which instances of templates are wanted. Immutable.</summary>
/// <param name="name">The file name that messages show, as in "selective_scan_forward.cu".</param>
/// <param name="source">The text.</param>
public sealed class KernelProgram(string name, string source)
{
    /// <summary>The file name that messages show.</summary>
    public string Name { get; } = name;

    /// <summary>The text.</summary>
    public string Source { get; } = source;

    /// <summary>What can be included: the text of each header by the name that stands in the #include, whoever includes it.</summary>
    public IReadOnlyDictionary<string, string> Headers { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// C++ expressions for kernels and variables whose names in the binary are asked for afterwards, as in "scan&lt;float, 16&gt;";
    /// naming an instance of a template also makes it.
    /// </summary>
    public IReadOnlyList<string> NameExpressions { get; init; } = [];

    /// <summary>Options of NVRTC, one a text, as in "--use_fast_math" or "-DWIDTH=4"; the architecture is given apart.</summary>
    public IReadOnlyList<string> Options { get; init; } = [];
}
