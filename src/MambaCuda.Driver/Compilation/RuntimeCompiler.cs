using System.Runtime.InteropServices;
using System.Text;

namespace MambaCuda.Driver;

/// <summary>
/// NVRTC: compiles CUDA C++ in this process; no CUDA Toolkit and no GPU is needed. Each call runs the compiler;
/// <see cref="KernelCompiler"/> keeps what came out. Can be used by many threads.
/// </summary>
public sealed unsafe class RuntimeCompiler
{
    private static readonly Lazy<LibrarySearch> Found = new(Find);
    private static readonly Lazy<RuntimeCompiler> Loaded = new(() =>
        new RuntimeCompiler(Found.Value), LazyThreadSafetyMode.PublicationOnly);

    private RuntimeCompiler(LibrarySearch search)
    {
        search.ThrowIfMissing();
        NvrtcException.ThrowIfFailed(NvrtcApi.nvrtcVersion(out int major, out int minor), "asking NVRTC for its version");
        Version = new CudaVersion(major, minor);
        if (Version < MinimumVersion)
        {
            throw new CudaUnavailableException(
                $"NVRTC {Version} was found ({search.Path ?? "by the system"}), but {MinimumVersion} or later is needed. "
                + search.Library.Remedy);
        }

        NvrtcException.ThrowIfFailed(NvrtcApi.nvrtcGetNumSupportedArchs(out int count), "counting NVRTC's architectures");
        int[] numbers = new int[count];
        fixed (int* pointer = numbers)
        {
            NvrtcException.ThrowIfFailed(NvrtcApi.nvrtcGetSupportedArchs(pointer), "listing NVRTC's architectures");
        }

        SupportedArchitectures = [.. numbers.Order().Select(ComputeCapability.FromNumber)];
        Identity = $"NVRTC {Version}, {LengthOf(search.Path)} bytes";
    }

    /// <summary>
    /// The oldest NVRTC that this library works with: 11.8, the first that can be kept from reading files of its own accord.
    /// </summary>
    public static CudaVersion MinimumVersion { get; } = new(11, 8);

    /// <summary>How the library was looked for.</summary>
    public static LibrarySearch Search => Found.Value;

    /// <summary>The compiler of this process.</summary>
    /// <exception cref="MissingLibraryException">NVRTC is not there; the message lists what was tried, and how to get it.</exception>
    /// <exception cref="CudaUnavailableException">It is too old.</exception>
    public static RuntimeCompiler Load() => Loaded.Value;

    /// <summary>NVRTC's version.</summary>
    public CudaVersion Version { get; }

    /// <summary>What it compiles for, oldest first.</summary>
    public IReadOnlyList<ComputeCapability> SupportedArchitectures { get; }

    /// <summary>
    /// What tells one build of the compiler from another. NVRTC does not tell its patch release, in which the code that comes out
    /// may differ; so the size of its file is taken in too.
    /// </summary>
    internal string Identity { get; }

    /// <summary>
    /// What to compile for a device: its own architecture where NVRTC knows it, else PTX of the newest that it knows and the device can
    /// run.
    /// </summary>
    /// <exception cref="UnsupportedArchitectureException">There is none.</exception>
    public GpuArchitecture ArchitectureFor(ComputeCapability device)
    {
        if (SupportedArchitectures.Contains(device))
        {
            return new GpuArchitecture(device);
        }

        ComputeCapability[] runnable = [.. SupportedArchitectures.Where(architecture => architecture < device)];
        return runnable.Length > 0
            ? new GpuArchitecture(runnable[^1], IsVirtual: true)
            : throw new UnsupportedArchitectureException(device, this);
    }

    /// <summary>Compiles a program.</summary>
    /// <param name="program">The program.</param>
    /// <param name="architecture">What for: a real architecture gives a cubin, a virtual one PTX.</param>
    /// <exception cref="KernelCompilationException">It does not compile; the exception has file, line and log.</exception>
    /// <exception cref="NvrtcException">Something else went wrong.</exception>
    public CompiledProgram Compile(KernelProgram program, GpuArchitecture architecture)
    {
        ArgumentNullException.ThrowIfNull(program);
        return Compile(program, architecture, OptionsOf(program, architecture));
    }

    /// <summary>All options for a program, that of the architecture included.</summary>
    internal static string[] OptionsOf(KernelProgram program, GpuArchitecture architecture) =>
        [$"--gpu-architecture={architecture}", .. program.Options];

    internal CompiledProgram Compile(KernelProgram program, GpuArchitecture architecture, IReadOnlyList<string> options)
    {
        using Utf8Texts texts = new([program.Source, program.Name]);
        using Utf8Texts headers = new(program.Headers.Values);
        using Utf8Texts includeNames = new(program.Headers.Keys);
        using Utf8Texts expressions = new(program.NameExpressions);
        using Utf8Texts optionTexts = new(options);

        NvrtcException.ThrowIfFailed(
            NvrtcApi.nvrtcCreateProgram(out nint handle, texts[0], texts[1], headers.Count, headers.Pointers, includeNames.Pointers),
            $"reading {program.Name}");
        try
        {
            for (int i = 0; i < expressions.Count; i++)
            {
                NvrtcException.ThrowIfFailed(
                    NvrtcApi.nvrtcAddNameExpression(handle, expressions[i]), $"asking {program.Name} for {program.NameExpressions[i]}");
            }

            int error = NvrtcApi.nvrtcCompileProgram(handle, optionTexts.Count, optionTexts.Pointers);
            string log = ReadLog(handle);
            return error == 0
                ? new CompiledProgram(
                    architecture, ReadImage(handle, architecture), ReadNames(handle, program, expressions), log.Trim(), isFromCache: false)
                : throw new KernelCompilationException(program, architecture, options, Version, NvrtcException.NameOf(error), log);
        }
        finally
        {
            _ = NvrtcApi.nvrtcDestroyProgram(ref handle);
        }
    }

    private static Dictionary<string, string> ReadNames(nint handle, KernelProgram program, Utf8Texts expressions)
    {
        Dictionary<string, string> names = [];
        for (int i = 0; i < expressions.Count; i++)
        {
            string expression = program.NameExpressions[i];
            NvrtcException.ThrowIfFailed(
                NvrtcApi.nvrtcGetLoweredName(handle, expressions[i], out byte* name),
                $"asking {program.Name} for the name of {expression}");
            names[expression] = Marshal.PtrToStringUTF8((nint)name)!;
        }

        return names;
    }

    private static byte[] ReadImage(nint handle, GpuArchitecture architecture)
    {
        nuint size;
        NvrtcException.ThrowIfFailed(
            architecture.IsVirtual ? NvrtcApi.nvrtcGetPTXSize(handle, out size) : NvrtcApi.nvrtcGetCUBINSize(handle, out size),
            "asking for the size of the compiled program");
        byte[] image = new byte[size];
        fixed (byte* pointer = image)
        {
            NvrtcException.ThrowIfFailed(
                architecture.IsVirtual ? NvrtcApi.nvrtcGetPTX(handle, pointer) : NvrtcApi.nvrtcGetCUBIN(handle, pointer),
                "reading the compiled program");
        }

        return image;
    }

    private static string ReadLog(nint handle)
    {
        NvrtcException.ThrowIfFailed(NvrtcApi.nvrtcGetProgramLogSize(handle, out nuint size), "asking for the size of the compiler's log");
        byte[] log = new byte[Math.Max(size, 1)];
        fixed (byte* pointer = log)
        {
            NvrtcException.ThrowIfFailed(NvrtcApi.nvrtcGetProgramLog(handle, pointer), "reading the compiler's log");
        }

        return Encoding.UTF8.GetString(log).TrimEnd('\0');
    }

    private static LibrarySearch Find()
    {
        LibrarySearch search = new LibraryFinder().Search(CudaLibrary.Nvrtc);
        if (search.IsFound)
        {
            NativeImports.Bind(NativeImports.Nvrtc, search.Handle);
        }

        return search;
    }

    private static long LengthOf(string? path)
    {
        if (path is null)
        {
            return 0;
        }

        // Opened rather than asked for: the path may be a link, whose own length says nothing.
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path);
        return RandomAccess.GetLength(file);
    }
}
