using System.Diagnostics;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>A step as measured: once as it runs, and once with a mark around all that is in it.</summary>
internal sealed record StepProfile
{
    private const int WarmUps = 2;

    /// <summary>What was run, for people.</summary>
    public required string Title { get; init; }

    /// <summary>On what.</summary>
    public required string Device { get; init; }

    /// <summary>The type of activations.</summary>
    public required DataType Activations { get; init; }

    /// <summary>The step without marks, by the host's clock, until its result is on the host.</summary>
    public required double PlainMilliseconds { get; init; }

    /// <summary>The same with marks, which break what overlaps.</summary>
    public required double MarkedMilliseconds { get; init; }

    /// <summary>What two marks measure with nothing between: a part of each time.</summary>
    public required double MarkMilliseconds { get; init; }

    public required int Runs { get; init; }

    public required DeviceCeilings Ceilings { get; init; }

    /// <summary>The step, the parts, operations and kernels in it.</summary>
    public required ProfileSlice Step { get; init; }

    /// <summary>Measures a step.</summary>
    public static StepProfile Measure(
        string title, ProfiledStep step, Backend backend, DeviceCeilings ceilings, int runs, CancellationToken cancellation)
    {
        List<double> plain = [], marked = [];
        List<ProfileSlice> slices = [];
        try
        {
            // A profiler that listens sees the names in the undisturbed step.
            backend.Trace = ToolTrace.TryCreate();
            for (int i = -WarmUps; i < runs; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                double milliseconds = Time(backend, step.Run);
                if (i >= 0)
                {
                    plain.Add(milliseconds);
                }
            }
        }
        finally
        {
            backend.Trace = null;
        }

        using StepRecorder recorder = new(backend);
        for (int i = -1; i < runs; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            ProfileSlice? slice = null;
            double milliseconds = Time(backend, () => slice = recorder.Record(title, step.Run));

            // The first run makes the marks.
            if (i >= 0)
            {
                marked.Add(milliseconds);
                slices.Add(slice!);
            }
        }

        return new StepProfile
        {
            Title = title,
            Device = backend.Description,
            Activations = backend.ActivationType,
            PlainMilliseconds = ProfileSlice.MedianOf(plain),
            MarkedMilliseconds = ProfileSlice.MedianOf(marked),
            MarkMilliseconds = recorder.MarkMilliseconds,
            Runs = runs,
            Ceilings = ceilings,
            Step = ProfileSlice.Median(slices),
        };
    }

    private static double Time(Backend backend, Action run)
    {
        backend.Synchronize();
        long start = Stopwatch.GetTimestamp();
        run();
        backend.Synchronize();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }
}
