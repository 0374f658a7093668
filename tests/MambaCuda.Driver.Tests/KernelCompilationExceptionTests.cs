namespace MambaCuda.Driver.Tests;

/// <summary>Where an error of a kernel is said to be.</summary>
public class KernelCompilationExceptionTests
{
    private static readonly GpuArchitecture Ampere = new(new ComputeCapability(8, 0));

    [Fact]
    public void An_error_in_the_source_has_file_line_architecture_options_and_log()
    {
        const string Source = "__global__ void scan(float* x)\n{\n    x[0] = nope;\n    x[1] = nope2;\n}\n";
        KernelProgram program = new("scan.cu", Source) { Options = ["-DWIDTH=4"] };
        KernelCompilationException exception = Fails(program);
        Assert.Equal(("scan.cu", 3), (exception.File, exception.Line));
        Assert.Equal("scan.cu", exception.Program);
        Assert.Equal(Ampere, exception.Architecture);
        Assert.Equal(["--gpu-architecture=sm_80", "-DWIDTH=4"], exception.Options);
        Assert.Equal(Nvrtc.Compiler.Version, exception.CompilerVersion);
        Assert.Equal([3, 4], exception.Diagnostics.Select(diagnostic => diagnostic.Line));
        Assert.Contains("\"nope2\"", exception.Log, StringComparison.Ordinal);
        Assert.Equal("scan.cu(3): error: identifier \"nope\" is undefined (and 1 more)", exception.Message.Split('\n')[0]);
        Assert.Contains("was compiled for sm_80 by NVRTC ", exception.Message, StringComparison.Ordinal);
        Assert.Contains("--gpu-architecture=sm_80 -DWIDTH=4", exception.Message, StringComparison.Ordinal);
        Assert.EndsWith(exception.Log, exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_error_in_a_virtual_header_has_the_headers_name_and_line()
    {
        KernelProgram program = new("scan.cu", "#include \"mamba/types.cuh\"\n__global__ void scan() { }\n")
        {
            Headers = new Dictionary<string, string> { ["mamba/types.cuh"] = "// types\n\n__device__ int broken = ;\n" },
        };
        KernelCompilationException exception = Fails(program);
        Assert.Equal(("mamba/types.cuh", 3), (exception.File, exception.Line));
        Assert.Equal("scan.cu", exception.Program);
    }

    [Fact]
    public void A_header_that_is_not_given_is_an_error_where_it_is_included()
    {
        KernelCompilationException exception = Fails(new KernelProgram("scan.cu", "\n#include \"absent.cuh\"\n"));
        Assert.Equal(("scan.cu", 2), (exception.File, exception.Line));
        Assert.Contains("absent.cuh", Assert.Single(exception.Diagnostics).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_error_inside_a_template_tells_what_led_there()
    {
        const string Source = """
            template <typename T> __device__ int size(T t) { return t.size; }
            __global__ void k(int* x) { x[0] = size(2.0f); }
            """;
        KernelCompilationException exception = Fails(new KernelProgram("k.cu", Source));
        Assert.Equal(1, exception.Line);
        Assert.Contains("instantiation of", exception.Diagnostics[0].Details, StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_expression_that_means_nothing_is_an_error()
    {
        KernelProgram program = new("k.cu", "template <int N> __global__ void k() { }") { NameExpressions = ["k<Absent>"] };
        Assert.Contains("Absent", Fails(program).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_wrong_option_is_an_error_about_no_line()
    {
        KernelCompilationException exception = Fails(new KernelProgram("k.cu", "") { Options = ["--no-such-option"] });
        Assert.Null(exception.File);
        Assert.Null(exception.Line);
        Assert.Contains("--no-such-option", exception.Message.Split('\n')[0], StringComparison.Ordinal);
    }

    [Fact]
    public void What_the_assembler_refuses_is_an_error_about_no_line()
    {
        KernelCompilationException exception = Fails(new KernelProgram("k.cu", "__global__ void k() { asm(\"bogus.instruction;\"); }"));
        Assert.Null(exception.Line);
        Assert.Contains("error: ", exception.Message.Split('\n')[0], StringComparison.Ordinal);
    }

    [Fact]
    public void A_zero_character_in_a_source_is_refused() =>
        Assert.Throws<ArgumentException>(() => Nvrtc.Compiler.Compile(new KernelProgram("k.cu", "a\0b"), Ampere));

    [Theory]
    [InlineData("a/b.cuh(3): error: x is wrong", "a/b.cuh", 3, DiagnosticSeverity.Error, "x is wrong")]
    [InlineData("k.cu(12): warning #177-D: unused", "k.cu", 12, DiagnosticSeverity.Warning, "unused")]
    [InlineData("k.cu(1): catastrophic error: cannot open", "k.cu", 1, DiagnosticSeverity.Error, "cannot open")]
    [InlineData("C:\\my (old) code\\k.cu(7): error: a(1): error", "C:\\my (old) code\\k.cu", 7, DiagnosticSeverity.Error, "a(1): error")]
    [InlineData("At end of source: error: expected a \";\"", null, null, DiagnosticSeverity.Error, "expected a \";\"")]
    [InlineData("nvrtc: error: unrecognized option", null, null, DiagnosticSeverity.Error, "unrecognized option")]
    [InlineData("ptxas application ptx input, line 23; error   : Unknown", null, null, DiagnosticSeverity.Error, "Unknown")]
    public void Lines_of_a_log_are_read(string line, string? file, int? number, DiagnosticSeverity severity, string message)
    {
        string log = $"\n{line}\r\n    detail 1\n    detail 2\n\n2 errors detected.\n";
        KernelDiagnostic diagnostic = Assert.Single(KernelDiagnostic.Parse(log));
        Assert.Equal(new KernelDiagnostic(file, number, severity, message, "    detail 1\n    detail 2"), diagnostic);
    }

    private static KernelCompilationException Fails(KernelProgram program)
    {
        RuntimeCompiler compiler = Nvrtc.Compiler;
        return Assert.Throws<KernelCompilationException>(() => compiler.Compile(program, Ampere));
    }
}
