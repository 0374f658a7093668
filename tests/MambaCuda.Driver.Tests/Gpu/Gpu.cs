namespace MambaCuda.Driver.Tests;

/// <summary>The first GPU for tests, which are skipped where there is none. Tests that use it run one after the other.</summary>
[CollectionDefinition(nameof(Gpu), DisableParallelization = true)]
public sealed class Gpu : ICollectionFixture<Gpu>, IDisposable
{
    private readonly Lazy<CudaContext> _context = new(() => CudaDevice.Get(0).RetainPrimaryContext());

    /// <summary>Kernels by their plain names, and one template.</summary>
    public static KernelProgram Kernels { get; } = new("tests.cu", KernelSource)
    {
        NameExpressions = ["fill_with<float>"],
        Options = ["--std=c++17"],
    };

    private const string KernelSource = """
        extern "C" __device__ int answer = 42;
        extern "C" __constant__ float table[5] = {1, 2, 3, 4, 5};

        struct Sum { const float* a; const float* b; float* c; int count; };

        extern "C" __global__ void add_struct(Sum p)
        {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < p.count) p.c[i] = p.a[i] + p.b[i];
        }

        extern "C" __global__ void add(const float* a, const float* b, float* c, int count)
        {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < count) c[i] = a[i] + b[i];
        }

        extern "C" __global__ void increment(int* x) { *x += 1; }

        extern "C" __global__ void spin(int* x, long long cycles)
        {
            long long start = clock64();
            while (clock64() - start < cycles) { }
            *x += 1;
        }

        extern "C" __global__ void reverse_through_shared(int* x)
        {
            extern __shared__ int held[];
            held[threadIdx.x * 64] = x[threadIdx.x];
            __syncthreads();
            x[threadIdx.x] = held[(blockDim.x - 1 - threadIdx.x) * 64];
        }

        extern "C" __global__ void read_cluster(int* x)
        {
            unsigned size = 1, rank = 0;
        #if __CUDA_ARCH__ >= 900
            asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(size));
            asm("mov.u32 %0, %%cluster_ctaid.x;" : "=r"(rank));
        #endif
            x[blockIdx.x] = size * 100 + rank;
        }

        extern "C" __global__ void dependent(int* x)
        {
        #if __CUDA_ARCH__ >= 900
            asm volatile("griddepcontrol.wait;" ::: "memory");
        #endif
            *x = *x * 2 + 1;
        }

        extern "C" __global__ void meet(int* arrived, int* seen)
        {
            // Each block waits for all others: possible only where all run at once.
            atomicAdd(arrived, 1);
            while (atomicAdd(arrived, 0) < gridDim.x) { }
            seen[blockIdx.x] = 1;
        }

        extern "C" __global__ void write_nowhere() { *(volatile int*)16 = 1; }

        template <typename T> __global__ void fill_with(T* x, T value) { x[threadIdx.x] = value; }
        """;

    /// <summary>The context of the first device.</summary>
    public CudaContext Context
    {
        get
        {
            SkipWithout();
            return _context.Value;
        }
    }

    /// <summary>Skips the test where there is no GPU, or no compiler for its kernels.</summary>
    public static void SkipWithout()
    {
        Assert.SkipUnless(CudaDriver.IsAvailable, $"No GPU: {CudaDriver.Problem?.Split(". ")[0]}.");
        _ = Nvrtc.Compiler;
    }

    /// <summary>The kernels, loaded.</summary>
    public static CudaModule Load(CudaContext context) => context.LoadModule(Compile(context).Image.Span);

    /// <summary>The kernels, compiled for a context's device.</summary>
    public static CompiledProgram Compile(CudaContext context) =>
        new KernelCompiler(Nvrtc.Compiler, null).Compile(Kernels, context.Device.ComputeCapability);

    public void Dispose()
    {
        if (_context.IsValueCreated)
        {
            _context.Value.Dispose();
        }
    }
}
