using System.Diagnostics;
using System.Runtime.Intrinsics;
using MambaCuda.Kernels;

namespace MambaCuda.Benchmarks;

/// <summary>How fast threads read memory that no cache holds: the ceiling of decoding.</summary>
internal static unsafe class ReadBandwidth
{
    private const long Bytes = 512L << 20;

    /// <summary>Bytes a second, the median of several passes by this many threads over 512 MB.</summary>
    public static double Measure(int threads, int passes)
    {
        using NativeHostMemory memory = new(Bytes);
        double[] rates = new double[passes];
        for (int pass = 0; pass < passes; pass++)
        {
            using Barrier start = new(threads + 1);
            Thread[] readers = [.. Enumerable.Range(0, threads).Select(i => new Thread(() =>
            {
                start.SignalAndWait();
                GC.KeepAlive(Sum(memory.Pointer + (i * (Bytes / threads)), Bytes / threads));
            }))];
            Array.ForEach(readers, reader => reader.Start());
            start.SignalAndWait();
            long began = Stopwatch.GetTimestamp();
            Array.ForEach(readers, reader => reader.Join());
            rates[pass] = Bytes / Stopwatch.GetElapsedTime(began).TotalSeconds;
        }

        Array.Sort(rates);
        return rates[passes / 2];
    }

    private static object Sum(byte* start, long count)
    {
        Vector512<int> a = default, b = default, c = default, d = default;
        for (long at = 0; at < count; at += 256)
        {
            a ^= Vector512.Load((int*)(start + at));
            b ^= Vector512.Load((int*)(start + at + 64));
            c ^= Vector512.Load((int*)(start + at + 128));
            d ^= Vector512.Load((int*)(start + at + 192));
        }

        return a ^ b ^ c ^ d;
    }
}
