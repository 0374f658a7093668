using System.Diagnostics;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>
/// Times runs of a benchmark after warming up: on CUDA by events around each run, with work before them in the stream so that the host is ahead; on
/// the CPU, and for whole models, by the host's clock.
/// </summary>
internal sealed class BenchTimer : IDisposable
{
    private const int BatchRuns = 48;
    private const int LeastRuns = 15;
    private const int MostRuns = 300;
    private const int Fillers = 8;
    private static readonly TimeSpan Usual = TimeSpan.FromSeconds(0.4);
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(0.1);
    private static readonly TimeSpan FirstWarmUp = TimeSpan.FromSeconds(0.4);

    private readonly Backend _backend;
    private readonly CudaStream? _stream;
    private readonly CudaEvent[] _starts = [], _ends = [];
    private bool _isWarm;

    public BenchTimer(Backend backend)
    {
        _backend = backend;
        if (backend is CudaBackend cuda)
        {
            _stream = cuda.Stream;
            _starts = [.. Enumerable.Range(0, BatchRuns).Select(_ => cuda.Context.CreateEvent())];
            _ends = [.. Enumerable.Range(0, BatchRuns).Select(_ => cuda.Context.CreateEvent())];
        }
    }

    /// <summary>What each run took in milliseconds, shortest first.</summary>
    /// <param name="benchmark">What to run.</param>
    /// <param name="runs">How many runs; 0 to fill half a second.</param>
    /// <param name="launches">How often a run launches it, where events time it; a run is then one launch's share.</param>
    public double[] Measure(Benchmark benchmark, int runs, int launches = 1)
    {
        using DeviceBuffer? work = _stream is null || benchmark.TimedByHost
            ? null : _backend.Allocate(((long)BenchContext.ProbeMegabytes(_backend) << 20) / 4);
        double[] Times(int first, int count) =>
            work is null ? ByHost(benchmark, first, count) : ByEvents(benchmark, work, first, count, launches);
        runs = runs > 0 ? runs : benchmark.Runs;
        int done = 0;
        double longest = 0;
        if (benchmark.OwnMilliseconds is null)
        {
            // The first run of all compiles kernels.
            _ = Times(done++, 1);
            TimeSpan limit = _isWarm || _stream is null ? WarmUp : FirstWarmUp;
            long began = Stopwatch.GetTimestamp();
            do
            {
                longest = Times(done++, 1)[0];
            }
            while (Stopwatch.GetElapsedTime(began) < limit);
            _isWarm = true;
        }

        runs = runs > 0 ? runs : (int)Math.Clamp(Usual.TotalMilliseconds / Math.Max(longest * launches, 1e-6), LeastRuns, MostRuns);
        List<double> times = [];
        while (times.Count < runs)
        {
            int count = Math.Min(Math.Max(BatchRuns / launches, 1), runs - times.Count);
            times.AddRange(Times(done, count));
            done += count;
        }

        times.Sort();
        return [.. times];
    }

    public void Dispose()
    {
        foreach (CudaEvent mark in _starts.Concat(_ends))
        {
            mark.Dispose();
        }
    }

    private double[] ByHost(Benchmark benchmark, int first, int count)
    {
        double[] times = new double[count];
        for (int i = 0; i < count; i++)
        {
            _backend.Synchronize();
            long start = Stopwatch.GetTimestamp();
            benchmark.Run((first + i) % benchmark.Copies);
            _backend.Synchronize();
            // Not by TimeSpan, whose ticks of 100 ns an operation of a few elements can fall short of; at least one tick of the clock.
            long ticks = Math.Max(1, Stopwatch.GetTimestamp() - start);
            times[i] = benchmark.OwnMilliseconds ?? ticks * 1e3 / Stopwatch.Frequency;
        }

        return times;
    }

    private double[] ByEvents(Benchmark benchmark, DeviceBuffer work, int first, int count, int launches)
    {
        // While the device is busy with this, the host puts all runs into the stream; so none waits for its launch.
        MatrixView filler = work.Matrix(DataType.UInt8, 1, (int)work.ByteLength);
        for (int i = 0; i < Fillers; i++)
        {
            _backend.Clear(filler);
        }

        for (int i = 0; i < count; i++)
        {
            _stream!.Record(_starts[i]);
            for (int launch = 0; launch < launches; launch++)
            {
                benchmark.Run((((first + i) * launches) + launch) % benchmark.Copies);
            }

            _stream.Record(_ends[i]);
        }

        _backend.Synchronize();
        return [.. Enumerable.Range(0, count).Select(i => _ends[i].ElapsedSince(_starts[i]).TotalMilliseconds / launches)];
    }
}
