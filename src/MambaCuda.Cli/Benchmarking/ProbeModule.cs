using System.Reflection;
using System.Text;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>The kernels of native/probes, which measure the card and not an operation: compiled when they are asked for.</summary>
internal static class ProbeModule
{
    // Where the kernels' own assembly carries the headers that probes share with them.
    private const string HeaderRoot = "native/include/";

    private static readonly Lazy<IReadOnlyDictionary<string, string>> Headers = new(() =>
    {
        Assembly kernels = typeof(CudaBackend).Assembly;
        return kernels.GetManifestResourceNames().Where(name => name.StartsWith(HeaderRoot, StringComparison.Ordinal))
            .ToDictionary(name => name[HeaderRoot.Length..], name => Text(kernels, name));
    });

    /// <summary>Compiles a file of theirs for a context's card, and loads it.</summary>
    /// <param name="context">The context.</param>
    /// <param name="name">As in "bandwidth.cu".</param>
    /// <param name="suffix">"a" for instructions of the card's generation alone; see <see cref="GpuArchitecture"/>.</param>
    public static CudaModule Load(CudaContext context, string name, string suffix = "")
    {
        ComputeCapability card = context.Device.ComputeCapability;
        KernelCompiler compiler = new();
        KernelProgram program = Program(name);
        CompiledProgram compiled =
            suffix.Length == 0 ? compiler.Compile(program, card) : compiler.Compile(program, new GpuArchitecture(card, Suffix: suffix));
        return context.LoadModule(compiled.Image.Span);
    }

    /// <summary>A file of theirs with what it includes.</summary>
    public static KernelProgram Program(string name) => new(name, Text(typeof(ProbeModule).Assembly, name))
    {
        Headers = Headers.Value,
        Options = ["--std=c++17"],
    };

    private static string Text(Assembly assembly, string name)
    {
        using Stream text = assembly.GetManifestResourceStream(name)!;
        using StreamReader reader = new(text, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
