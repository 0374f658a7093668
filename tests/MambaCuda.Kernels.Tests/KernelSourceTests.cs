using System.Text;
using MambaCuda.Driver;

namespace MambaCuda.Kernels.Tests;

/// <summary>The device code that the assembly carries, compiled for every architecture by whatever NVRTC is here.</summary>
public sealed class KernelSourceTests
{
    private static readonly ComputeCapability Oldest = new(7, 5);

    private static string[] Names =>
        [.. typeof(Backend).Assembly.GetManifestResourceNames().Where(name => name.StartsWith("native/", StringComparison.Ordinal))];

    [Fact]
    public void The_assembly_carries_the_headers() => Assert.Contains("native/include/mamba/types.cuh", Names);

    [Fact]
    public void Every_header_compiles_for_every_architecture_by_itself()
    {
        Assert.SkipUnless(RuntimeCompiler.Search.IsFound, "There is no NVRTC here.");
        RuntimeCompiler compiler = RuntimeCompiler.Load();
        const string Root = "native/include/";
        string[] headers = [.. Names.Where(name => name.StartsWith(Root, StringComparison.Ordinal)).Select(name => name[Root.Length..])];
        Dictionary<string, string> texts = headers.ToDictionary(name => name, name => Text(Root + name));
        ComputeCapability[] architectures = [.. compiler.SupportedArchitectures.Where(architecture => architecture.CompareTo(Oldest) >= 0)];
        Assert.NotEmpty(headers);
        Assert.NotEmpty(architectures);
        foreach (string header in headers)
        {
            KernelProgram program = new($"{header}.cu", $"#include \"{header}\"\nextern \"C\" __global__ void empty() {{}}\n")
            {
                Headers = texts,
                Options = ["--std=c++17"],
            };
            foreach (ComputeCapability architecture in architectures)
            {
                Assert.NotEmpty(compiler.Compile(program, new GpuArchitecture(architecture)).Image.ToArray());
            }
        }
    }

    private static string Text(string name)
    {
        using StreamReader reader = new(typeof(Backend).Assembly.GetManifestResourceStream(name)!, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
