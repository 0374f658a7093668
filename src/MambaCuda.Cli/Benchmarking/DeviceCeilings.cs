using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>What the device reaches in this invocation at nothing but moving: what measurements are held against.</summary>
internal sealed record DeviceCeilings
{
    private const int Runs = 15;

    /// <summary>Read and written, GB/s.</summary>
    public double? Copy { get; init; }

    /// <summary>Read alone, GB/s; null on the CPU.</summary>
    public double? Read { get; init; }

    /// <summary>Those that were measured, with name and unit.</summary>
    public IEnumerable<(string Name, double Value, string Unit)> Named => new[]
    {
        ("copy", Copy, "GB/s"), ("read", Read, "GB/s"),
    }.Where(ceiling => ceiling.Item2 is not null).Select(ceiling => (ceiling.Item1, ceiling.Item2!.Value, ceiling.Item3));

    /// <summary>Measures them.</summary>
    public static DeviceCeilings Measure(BenchContext context, BenchTimer timer)
    {
        BenchRow size = new("copy", [BenchContext.ProbeMegabytes(context.Backend)]);
        double copyRate;
        using (CopyBenchmark copy = new(context, size))
        {
            copyRate = Rate(copy, timer);
        }

        if (context.Backend is not CudaBackend)
        {
            return new DeviceCeilings { Copy = copyRate };
        }

        using ReadBenchmark read = new(context, size);
        return new DeviceCeilings { Copy = copyRate, Read = Rate(read, timer) };
    }

    /// <summary>
    /// The least milliseconds that work can take, and the ceiling that says so; null where there is none for it: nothing to do, or bytes
    /// that go between host and device.
    /// </summary>
    public (double Milliseconds, string Ceiling)? Least(OperationWork work)
    {
        if (work.IsTransfer)
        {
            return null;
        }

        double memory = Math.Max(Copy ?? 0, Read ?? 0);
        return memory > 0 && work.Bytes > 0 ? (work.Bytes / memory / 1e6, "memory") : null;
    }

    private static double Rate(Benchmark benchmark, BenchTimer timer)
    {
        double[] times = timer.Measure(benchmark, Runs);
        return benchmark.Bytes / times[times.Length / 2] / 1e6;
    }
}
