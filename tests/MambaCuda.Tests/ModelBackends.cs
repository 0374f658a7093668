using System.Runtime.CompilerServices;
using MambaCuda.Driver;
using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>
/// The backends that models are tested on: the CPU, and CUDA on the first GPU, or on the host device (native/host) where there is none;
/// where neither can be, its rows are skipped.
/// </summary>
internal static class ModelBackends
{
    /// <summary>Their names.</summary>
    public static IReadOnlyList<string> Names { get; } = ["cpu", "cuda-float32", "cuda-bfloat16"];

    /// <summary>The names as the rows of a theory.</summary>
    public static TheoryData<string> Rows => [.. Names];

    /// <summary>Opens one; skips the test where it cannot be here.</summary>
    public static Backend Open(string name) => name switch
    {
        "cpu" => new CpuBackend(threads: 2),
        "cuda-float32" => OpenCuda(new CudaBackendOptions { ActivationType = DataType.Float32 }),
        "cuda-float16" => OpenCuda(new CudaBackendOptions { ActivationType = DataType.Float16 }),
        "cuda-bfloat16" => OpenCuda(new CudaBackendOptions { ActivationType = DataType.BFloat16 }),
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, "Not a backend under test."),
    };

    /// <summary>Opens CUDA; skips the test where it cannot be here.</summary>
    public static CudaBackend OpenCuda(CudaBackendOptions options)
    {
        Assert.SkipWhen(!HostDevice.IsInUse && CudaDevice.Count == 0, HostDevice.Problem ?? "There is no CUDA device.");
        return new CudaBackend(options);
    }

    [ModuleInitializer]
    internal static void ChooseDevice() => HostDevice.UseWhereThereIsNoGpu();
}
