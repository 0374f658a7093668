using System.Security.Cryptography;
using MambaCuda.Driver;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>Kernels compiled ahead of time, as the backend takes them: on a GPU, or the host device.</summary>
public sealed class KernelInstanceTests : IDisposable
{
    // Of an entry: the mark and the checksum of the rest, see CacheEntry.
    private const int MarkLength = 8;

    private readonly TemporaryFolder _folder = new();

    private CubinFolder Cubins => new(Path.Combine(_folder.Path, "cubins"));

    private string Cache => Path.Combine(_folder.Path, "cache");

    [Fact]
    public void Every_architecture_has_the_kernels_that_it_takes()
    {
        CudaVersion old = new(11, 8), current = new(12, 0);
        int Count(int number, CudaVersion compiler) => KernelInstance.All(ComputeCapability.FromNumber(number), compiler).Count;
        Assert.Equal(Count(75, old), Count(89, current));
        Assert.True(Count(90, old) > Count(75, old), "Some are for Hopper and later cards.");
        Assert.Equal(Count(90, old), Count(120, current));
        Assert.True(Count(90, current) > Count(90, old), "Some are for Hopper alone, and an NVRTC that knows it.");
    }

    [Fact]
    public void The_backend_takes_them_and_compiles_nothing()
    {
        Make();
        float[] actual = Run();
        Assert.False(Directory.Exists(Cache), "Something was compiled.");
        Bits.AssertSame(Run(withCubins: false), actual, "compiled at first use");
        Assert.NotEmpty(Directory.GetFiles(Cache));
    }

    [Fact]
    public void What_is_stale_or_damaged_is_compiled_in_silence()
    {
        float[] expected = Run(withCubins: false);
        void Compiles(Func<byte[], byte[], byte[]> changed)
        {
            Make();
            string[] files = Directory.GetFiles(Cubins.Path, "*", SearchOption.AllDirectories);
            byte[][] good = [.. files.Select(File.ReadAllBytes)];
            File.WriteAllBytes(files[0], changed(good[0], good[1]));
            File.WriteAllBytes(files[1], changed(good[1], good[0]));
            Directory.Delete(Cache, recursive: true);
            Bits.AssertSame(expected, Run(), "compiled");
            Assert.NotEmpty(Directory.GetFiles(Cache));
            Directory.Delete(Cubins.Path, recursive: true);
        }

        Compiles((good, _) => good[..^1]);

        // Under the name that a file of these sources would have: its content says of which it is.
        Compiles((_, other) => other);

        // Whole, but nothing that the driver can load, as of a newer toolkit than it knows.
        Compiles((good, _) =>
        {
            int start = MarkLength + SHA256.HashSizeInBytes, image = good.AsSpan().IndexOf("\u007fELF"u8);
            Assert.True(image > start);
            good.AsSpan(image, 4).Clear();
            SHA256.HashData(good.AsSpan(start), good.AsSpan(MarkLength));
            return good;
        });
    }

    public void Dispose() => _folder.Dispose();

    /// <summary>Both instances of log_probabilities.cu, for the device here.</summary>
    private void Make()
    {
        using CudaBackend device = (CudaBackend)TestBackends.Open("cuda-float32");
        KernelCompiler compiler = new(RuntimeCompiler.Load(), cache: null);
        KernelInstance[] instances =
        [
            .. KernelInstance.All(device.Context.Device.ComputeCapability, RuntimeCompiler.Load().Version)
                .Where(instance => instance.File == "log_probabilities.cu"),
        ];
        foreach (KernelInstance instance in instances)
        {
            Assert.False(instance.IsIn(Cubins));
            instance.CompileInto(Cubins, compiler);
            Assert.True(instance.IsIn(Cubins));
        }

        Assert.Equal(2, instances.Length);
    }

    private float[] Run(bool withCubins = true)
    {
        using Backend skipsWithoutDevice = TestBackends.Open("cuda-float32");
        using CudaBackend backend = new(new CudaBackendOptions
        {
            ActivationType = DataType.Float32,
            KernelCache = new KernelCache(Cache),
            Cubins = withCubins ? Cubins : new CubinFolder(Path.Combine(_folder.Path, "none")),
        });
        (float[] logits, int[] tokens) = LogProbabilitiesCase.Named("r3 v7 times 1").Inputs();
        return LogProbabilitiesRunner.Run(backend, logits, tokens);
    }
}
