using System.Buffers.Binary;
using System.Text;

namespace MambaCuda.Driver.Tests;

/// <summary>Compiling with NVRTC, which needs no GPU.</summary>
public class RuntimeCompilerTests
{
    // Field of the ELF header in which a cubin tells its architecture.
    private const int ElfFlagsOffset = 48;

    [Fact]
    public void Every_supported_architecture_gives_its_own_cubin()
    {
        RuntimeCompiler compiler = Nvrtc.Compiler;
        ComputeCapability[] architectures = [.. compiler.SupportedArchitectures.Where(one => one >= new ComputeCapability(7, 5))];
        Assert.Contains(new ComputeCapability(8, 0), architectures);
        Assert.Contains(new ComputeCapability(9, 0), architectures);
        HashSet<uint> seen = [];
        foreach (ComputeCapability architecture in architectures)
        {
            CompiledProgram program = compiler.Compile(Nvrtc.Scale, new GpuArchitecture(architecture));
            ReadOnlySpan<byte> image = program.Image.Span;
            Assert.True(image.StartsWith("\u007fELF"u8), $"{program.Architecture} gives no cubin.");
            uint flags = BinaryPrimitives.ReadUInt32LittleEndian(image[ElfFlagsOffset..]);
            Assert.True(seen.Add(flags), $"{program.Architecture} gives another one's cubin.");
            Assert.False(program.IsFromCache);
            foreach (string name in program.LoweredNames.Values)
            {
                Assert.True(image.IndexOf(Encoding.UTF8.GetBytes($".text.{name}")) > 0, $"The cubin holds no {name}.");
            }
        }
    }

    [Fact]
    public void Name_expressions_give_different_lowered_names()
    {
        CompiledProgram program = Nvrtc.Compiler.Compile(Nvrtc.Scale, new GpuArchitecture(new ComputeCapability(8, 0)));
        Assert.Equal("_Z5scaleIfLi2EEvPT_i", program.LoweredName("scale<float, 2>"));
        Assert.Equal("_Z5scaleIdLi4EEvPT_i", program.LoweredName("scale<double, 4>"));
        ArgumentException exception = Assert.Throws<ArgumentException>(() => program.LoweredName("scale<int, 1>"));
        Assert.Contains("'scale<int, 1>' is not among ", exception.Message, StringComparison.Ordinal);
        Assert.Contains(": scale<float, 2>, scale<double, 4>.", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_virtual_architecture_gives_PTX()
    {
        CompiledProgram program = Nvrtc.Compiler.Compile(Nvrtc.Scale, new GpuArchitecture(new ComputeCapability(8, 0), IsVirtual: true));
        string text = Encoding.UTF8.GetString(program.Image.Span);
        Assert.Contains(".target sm_80", text, StringComparison.Ordinal);
        Assert.Contains(program.LoweredName("scale<float, 2>"), text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(8, 0)]
    [InlineData(9, 0)]
    public void The_kernels_that_are_run_on_GPUs_compile_everywhere(int major, int minor) =>
        Assert.Empty(Nvrtc.Compiler.Compile(Gpu.Kernels, new GpuArchitecture(new ComputeCapability(major, minor))).Log);

    [Fact]
    public void A_suffix_gives_the_instructions_of_one_generation_alone()
    {
        KernelProgram program = new("k.cu", "extern \"C\" __global__ void k() { asm volatile(\"setmaxnreg.inc.sync.aligned.u32 64;\"); }");
        RuntimeCompiler compiler = Nvrtc.Compiler;
        Assert.SkipWhen(compiler.Version < new CudaVersion(12, 0), $"sm_90a came with NVRTC 12.0; this is {compiler.Version}.");
        ComputeCapability hopper = new(9, 0);
        Assert.True(compiler.Compile(program, new GpuArchitecture(hopper, Suffix: "a")).Image.Length > 0);
        Assert.Throws<KernelCompilationException>(() => compiler.Compile(program, new GpuArchitecture(hopper)));
    }

    [Fact]
    public void A_card_gets_its_own_architecture_or_PTX_of_the_newest_before_it_or_a_clear_refusal()
    {
        RuntimeCompiler compiler = Nvrtc.Compiler;
        ComputeCapability newest = compiler.SupportedArchitectures[^1];
        Assert.Equal("sm_80", compiler.ArchitectureFor(new ComputeCapability(8, 0)).ToString());
        Assert.Equal($"compute_{newest.Number}", compiler.ArchitectureFor(new ComputeCapability(99, 0)).ToString());
        ComputeCapability ancient = new(2, 0);
        UnsupportedArchitectureException exception =
            Assert.Throws<UnsupportedArchitectureException>(() => compiler.ArchitectureFor(ancient));
        Assert.Contains("the device has 2.0", exception.Message, StringComparison.Ordinal);
        Assert.Contains("MAMBACUDA_LIBRARY_PATH", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Warnings_are_in_the_log_of_what_compiles()
    {
        KernelProgram program = new("odd.cu", "__global__ void k() { int unused; }");
        CompiledProgram compiled = Nvrtc.Compiler.Compile(program, new GpuArchitecture(new ComputeCapability(8, 0)));
        KernelDiagnostic warning = Assert.Single(KernelDiagnostic.Parse(compiled.Log));
        Assert.Equal(("odd.cu", 1, DiagnosticSeverity.Warning), (warning.File, warning.Line, warning.Severity));
    }

    [Fact]
    public void A_library_that_nobody_has_is_missing_on_this_machine_too()
    {
        CudaLibrary absent = new("the absent library")
        {
            LinuxNames = ["libmamba-absent.so.2", "libmamba-absent.so.1"],
            WindowsNames = ["mamba-absent.dll"],
            Remedy = "There is none.",
        };
        LibrarySearch search = new LibraryFinder().Search(absent);
        MissingLibraryException exception = Assert.Throws<MissingLibraryException>(search.ThrowIfMissing);
        string[] lines = exception.Message.Split('\n');
        Assert.Equal(["The absent library was not found. There is none.", "Tried, in this order:"], lines[..2]);
        Assert.StartsWith("  MAMBACUDA_LIBRARY_PATH", lines[2], StringComparison.Ordinal);
        Assert.Contains("\n  system: does not find ", exception.Message, StringComparison.Ordinal);
    }
}
