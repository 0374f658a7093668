using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>
/// Kernels of this assembly, loaded for one device when they are first asked for, until this is disposed of. What was compiled ahead of time
/// for the device's architecture comes first, then what was compiled before, by whichever process, from the disk cache; else it is compiled.
/// </summary>
internal sealed class KernelLibrary(CudaContext context, KernelCompiler compiler, CubinFolder? cubins = null) : IDisposable
{
    private readonly List<CudaModule> _modules = [];
    private readonly Dictionary<IKernelFamily, object> _kernels = [];
    private readonly Dictionary<CudaKernel, (string Expression, string Variant)> _names = [];

    /// <summary>More options for NVRTC, apart by blanks, for who works on kernels: as "-lineinfo" for a profiler.</summary>
    public const string OptionsVariable = "MAMBACUDA_NVRTC_OPTIONS";

    /// <summary>The options that every kernel is compiled with. No fast-math: a kernel names the approximations that it takes.</summary>
    public static IReadOnlyList<string> Options { get; } =
    [
        "--std=c++17",
        .. (Environment.GetEnvironmentVariable(OptionsVariable) ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries),
    ];

    /// <summary>The device that kernels are compiled for.</summary>
    public CudaDevice Device => context.Device;

    /// <summary>The shared memory that a block may have, in bytes.</summary>
    public int MaxSharedBytes { get; } = context.Device.Attribute(CudaDeviceAttribute.MaxSharedBytesPerBlockOptIn);

    /// <summary>Instances of a kernel file as NVRTC is asked for them.</summary>
    /// <param name="file">The file that they stand in, as in "selective_scan_forward.cu".</param>
    /// <param name="expressions">The instances, as in "mamba::selective_scan_forward&lt;float, 16&gt;".</param>
    public static KernelProgram Program(string file, IReadOnlyList<string> expressions) => new(file, KernelSources.Kernel(file))
    {
        Headers = KernelSources.Headers,
        NameExpressions = expressions,
        Options = Options,
    };

    /// <summary>What was loaded of a family.</summary>
    public Dictionary<TVariant, CudaKernel> KernelsOf<TVariant>(KernelFamily<TVariant> family) where TVariant : struct, IEquatable<TVariant>
    {
        if (_kernels.TryGetValue(family, out object? kernels))
        {
            return (Dictionary<TVariant, CudaKernel>)kernels;
        }

        Dictionary<TVariant, CudaKernel> none = [];
        _kernels.Add(family, none);
        return none;
    }

    /// <summary>Keeps what a kernel of a family is called.</summary>
    public void Name(CudaKernel kernel, string expression, string variant) => _names[kernel] = (expression, variant);

    /// <summary>What a kernel of a family is called: its C++ name, and its variant for people.</summary>
    public (string Expression, string Variant) NameOf(CudaKernel kernel) => _names[kernel];

    /// <summary>Compiles where need be, loads, and gives the kernel; families ask for each instance once.</summary>
    /// <param name="file">The file that it stands in.</param>
    /// <param name="expression">The instance.</param>
    /// <param name="suffix">"a" for a kernel that uses instructions of the device's generation alone; see <see cref="GpuArchitecture"/>.</param>
    /// <exception cref="KernelCompilationException">It does not compile on this device; the message has file, line and log.</exception>
    public CudaKernel Load(string file, string expression, string suffix = "")
    {
        KernelProgram program = Program(file, [expression]);
        GpuArchitecture architecture = new(Device.ComputeCapability, Suffix: suffix);
        CompiledProgram? compiled = cubins?.Read(program, architecture);
        CudaModule? module = compiled is null ? null : TryLoad(compiled);
        if (module is null)
        {
            compiled = suffix.Length == 0 ? compiler.Compile(program, Device.ComputeCapability) : compiler.Compile(program, architecture);
            module = context.LoadModule(compiled.Image.Span);
        }

        _modules.Add(module);
        CudaKernel kernel = module.GetKernel(compiled!.LoweredName(expression));
        if (MaxSharedBytes - kernel.StaticSharedBytes is int most and > 48 * 1024)
        {
            kernel.MaxDynamicSharedBytes = most;
        }

        return kernel;
    }

    public void Dispose()
    {
        foreach (CudaModule module in _modules)
        {
            module.Dispose();
        }

        _modules.Clear();
    }

    /// <summary>Loads what was compiled ahead of time; null where the driver is older than the compiler that made it.</summary>
    private CudaModule? TryLoad(CompiledProgram compiled)
    {
        try
        {
            return context.LoadModule(compiled.Image.Span);
        }
        catch (CudaException)
        {
            return null;
        }
    }
}
