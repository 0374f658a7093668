using System.Text;
using MambaCuda.Driver;

namespace MambaCuda.Cli;

/// <summary>The kernels of native/probes, which measure the card and not an operation: compiled when they are asked for.</summary>
internal static class ProbeModule
{
    /// <summary>Compiles a file of theirs for a context's card, and loads it.</summary>
    public static CudaModule Load(CudaContext context, string name)
    {
        using Stream text = typeof(ProbeModule).Assembly.GetManifestResourceStream(name)!;
        using StreamReader reader = new(text, Encoding.UTF8);
        KernelProgram program = new(name, reader.ReadToEnd()) { Options = ["--std=c++17"] };
        return context.LoadModule(new KernelCompiler().Compile(program, context.Device.ComputeCapability).Image.Span);
    }
}
