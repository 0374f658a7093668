using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>One kernel of this library for one architecture, to be compiled ahead of time. A card takes it in place of compiling.</summary>
public sealed class KernelInstance
{
    private readonly KernelProgram _program;
    private readonly GpuArchitecture _architecture;

    private KernelInstance(string file, string expression, GpuArchitecture architecture)
    {
        (File, Expression, _architecture) = (file, expression, architecture);
        _program = KernelLibrary.Program(file, [expression]);
    }

    /// <summary>The file that it stands in, as in "selective_scan_forward.cu".</summary>
    public string File { get; }

    /// <summary>Its C++ name, as in "mamba::log_probabilities&lt;true&gt;".</summary>
    public string Expression { get; }

    /// <summary>All that operations ask for on cards of a generation.</summary>
    /// <param name="capability">The generation.</param>
    /// <param name="compiler">The version of NVRTC: old ones lack some instructions, and so the kernels of them.</param>
    public static IReadOnlyList<KernelInstance> All(ComputeCapability capability, CudaVersion compiler) =>
    [
        .. from family in CudaBackend.KernelFamilies
           where capability >= family.Oldest && (family.Suffix.Length == 0 || CudaBackend.KnowsWgmma(capability, compiler))
           from expression in family.Expressions
           select new KernelInstance(family.File, expression, new GpuArchitecture(capability, Suffix: family.Suffix)),
    ];

    /// <summary>Whether a folder has it, of these very sources.</summary>
    public bool IsIn(CubinFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return folder.Read(_program, _architecture) is not null;
    }

    /// <summary>Compiles it into a folder.</summary>
    /// <exception cref="KernelCompilationException">It does not compile; the message has file, line and log.</exception>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void CompileInto(CubinFolder folder, KernelCompiler compiler)
    {
        ArgumentNullException.ThrowIfNull(folder);
        ArgumentNullException.ThrowIfNull(compiler);
        folder.Write(_program, compiler.Compile(_program, _architecture));
    }
}
