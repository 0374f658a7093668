using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>What the device reaches in this invocation at nothing but moving or computing: what measurements are held against.</summary>
internal sealed record DeviceCeilings
{
    private const int BandwidthRuns = 15;

    // Registers know no noise.
    private const int ArithmeticRuns = 5;

    /// <summary>Read and written, GB/s.</summary>
    public required double Copy { get; init; }

    /// <summary>Read alone, GB/s; null on the CPU.</summary>
    public double? Read { get; init; }

    /// <summary>Products of 16-bit matrices by tensor cores, TFLOP/s; null on the CPU.</summary>
    public double? Matrix { get; init; }

    /// <summary>Multiply-adds in float32, two operations each, TFLOP/s; null on the CPU.</summary>
    public double? MultiplyAdd { get; init; }

    /// <summary>Exponentials by the special-function units, Gop/s; null on the CPU.</summary>
    public double? Special { get; init; }

    /// <summary>Those that were measured, with name and unit.</summary>
    public IEnumerable<(string Name, double Value, string Unit)> Named
    {
        get
        {
            yield return ("copy", Copy, "GB/s");
            foreach ((string name, double? value, string unit) in new[]
            {
                ("read", Read, "GB/s"), ("tensor cores", Matrix, "TFLOP/s"), ("multiply-add", MultiplyAdd, "TFLOP/s"),
                ("special functions", Special, "Gop/s"),
            })
            {
                if (value is { } measured)
                {
                    yield return (name, measured, unit);
                }
            }
        }
    }

    /// <summary>Measures them.</summary>
    public static DeviceCeilings Measure(BenchContext context, BenchTimer timer)
    {
        BenchRow size = new("copy", [BenchContext.ProbeMegabytes(context.Backend)]);
        double copy = Bandwidth(new CopyBenchmark(context, size), timer);
        return context.Backend is not CudaBackend cuda ? new DeviceCeilings { Copy = copy } : new DeviceCeilings
        {
            Copy = copy,
            Read = Bandwidth(new ReadBenchmark(context, size), timer),
            Matrix = Arithmetic(ArithmeticProbe.Products(cuda), timer) / 1e3,
            MultiplyAdd = Arithmetic(ArithmeticProbe.MultiplyAdds(cuda), timer) / 1e3,
            Special = Arithmetic(ArithmeticProbe.Exponentials(cuda), timer),
        };
    }

    /// <summary>
    /// The least milliseconds that work can take, and the ceiling that says so; null where there is none for it: nothing to do, or bytes
    /// that go between host and device.
    /// </summary>
    /// <param name="work">The work.</param>
    /// <param name="activations">The type of operands; products of float32 ones have no ceiling here.</param>
    public (double Milliseconds, string Ceiling)? Least(OperationWork work, DataType activations)
    {
        if (work.IsTransfer)
        {
            return null;
        }

        (double Milliseconds, string Ceiling) most = new[]
        {
            (work.Bytes / Math.Max(Copy, Read ?? 0) / 1e6, "memory"),
            (activations == DataType.Float32 ? 0 : work.Products / Matrix / 1e9 ?? 0, "tensor"),
            (work.Arithmetic / MultiplyAdd / 1e9 ?? 0, "multiply-add"),
            (work.Special / Special / 1e6 ?? 0, "special"),
        }.MaxBy(ceiling => ceiling.Item1);
        return most.Milliseconds > 0 ? most : null;
    }

    private static double Bandwidth(Benchmark benchmark, BenchTimer timer)
    {
        using (benchmark)
        {
            return benchmark.Bytes / Median(benchmark, timer, BandwidthRuns) / 1e6;
        }
    }

    private static double Arithmetic(Benchmark benchmark, BenchTimer timer)
    {
        using (benchmark)
        {
            return benchmark.Operations / Median(benchmark, timer, ArithmeticRuns) / 1e6;
        }
    }

    private static double Median(Benchmark benchmark, BenchTimer timer, int runs)
    {
        double[] times = timer.Measure(benchmark, runs);
        return times[times.Length / 2];
    }
}
