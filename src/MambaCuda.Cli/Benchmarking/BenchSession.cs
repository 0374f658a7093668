using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Measures rows one after the other. A type or a variant that needs a backend of its own gets one, and keeps it.</summary>
internal sealed class BenchSession(bool useCuda, int runs) : IDisposable
{
    private const string CommitVariable = "MAMBACUDA_COMMIT";

    private readonly Dictionary<(string Type, bool OwnLinear), (BenchContext Context, BenchTimer Timer)> _contexts = [];
    private DeviceCeilings? _ceilings;

    /// <summary>Measures a row; what cannot be measured is told in the result.</summary>
    public BenchResult Measure(BenchRow row)
    {
        BenchOperation operation = BenchOperation.Named(row.Operation)!;
        BenchResult empty = new()
        {
            Operation = row.Operation,
            Shape = row.ShapeText,
            Model = row.Model,
            Type = row.Type!,
            Variant = row.Variant,
            Launches = row.Launches,
            Command = $"mamba-cuda bench {row.Arguments}",
        };
        try
        {
            (BenchContext context, BenchTimer timer) = Context(row);
            Probe(context, timer);
            CudaContext? memory = row.Model is null ? null : (context.Backend as CudaBackend)?.Context;
            memory?.ResetPeakAllocatedBytes();
            using Benchmark benchmark = operation.Create(context, row);
            if (row.Launches > 1 && IsTimedByHost(benchmark))
            {
                throw new NotSupportedException(
                    $"--launches {row.Launches}: {row.Operation} is timed by the host's clock here, and not by events.");
            }

            BenchResult result = Result(empty, benchmark, timer.Measure(benchmark, runs, row.Launches));
            return result with { PeakMemoryBytes = memory?.PeakAllocatedBytes };
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            return empty with { Problem = $"{exception.GetType().Name}: {exception.Message}".ReplaceLineEndings(" ") };
        }
    }

    /// <summary>The report of what was measured.</summary>
    public BenchReport Report(string command, string? commit, IReadOnlyList<BenchResult> rows) => new()
    {
        Command = command,
        Commit = commit ?? Environment.GetEnvironmentVariable(CommitVariable) ?? CommitOfWorkingTree() ?? "unknown",
        Date = DateTime.UtcNow,
        Machine = Machine(),
        CopyGigabytesPerSecond = _ceilings?.Copy,
        ReadGigabytesPerSecond = _ceilings?.Read,
        MatrixTeraflopPerSecond = _ceilings?.Matrix,
        MultiplyAddTeraflopPerSecond = _ceilings?.MultiplyAdd,
        SpecialGigaoperationsPerSecond = _ceilings?.Special,
        Rows = rows,
    };

    public void Dispose()
    {
        foreach ((BenchContext context, BenchTimer timer) in _contexts.Values)
        {
            timer.Dispose();
            context.Dispose();
        }
    }

    private (BenchContext Context, BenchTimer Timer) Context(BenchRow row)
    {
        bool ownLinear = row.Variant == "own";
        if (!_contexts.TryGetValue((row.Type!, ownLinear), out (BenchContext Context, BenchTimer Timer) entry))
        {
            Backend backend = useCuda
                ? new CudaBackend(new CudaBackendOptions { ActivationType = DeviceOptions.TypeNamed(row.Type), UseCublasLt = !ownLinear })
                : new CpuBackend();
            entry = (new BenchContext(backend), new BenchTimer(backend));
            _contexts.Add((row.Type!, ownLinear), entry);
        }

        return entry;
    }

    /// <summary>The ceilings, once: what this device reaches in this invocation.</summary>
    private void Probe(BenchContext context, BenchTimer timer) => _ceilings ??= DeviceCeilings.Measure(context, timer);

    private bool IsTimedByHost(Benchmark benchmark) => benchmark.TimedByHost || !useCuda;

    private BenchResult Result(BenchResult empty, Benchmark benchmark, double[] times)
    {
        double median = times.Length % 2 == 1 ? times[times.Length / 2] : (times[(times.Length / 2) - 1] + times[times.Length / 2]) / 2;
        double rate = benchmark.Bytes / median / 1e6;
        (string? ceiling, double? percent) = Ceiling(benchmark, empty.Type, median);
        return empty with
        {
            Clock = IsTimedByHost(benchmark) ? "host" : "events",
            MedianMs = median,
            MinMs = times[0],
            MaxMs = times[^1],
            Runs = times.Length,
            Bytes = benchmark.Bytes,
            Operations = benchmark.Operations,
            Elements = benchmark.Elements,
            GigabytesPerSecond = rate,
            GigaelementsPerSecond = benchmark.Elements / median / 1e6,
            TeraflopPerSecond = benchmark.Operations / median / 1e9,
            Ceiling = ceiling,
            PercentOfCeiling = percent,
        };
    }

    /// <summary>The ceiling that a row is nearest to, of that of its kind and that of special functions.</summary>
    private (string? Name, double? Percent) Ceiling(Benchmark benchmark, string type, double milliseconds)
    {
        double rate = benchmark.Bytes / milliseconds / 1e6;
        (string? name, double? percent) = benchmark.Ceiling switch
        {
            BenchCeiling.Copy => ("copy", 100 * rate / _ceilings?.Copy),
            BenchCeiling.Read => ("read", 100 * rate / _ceilings?.Read),
            BenchCeiling.Tensor when type != "fp32" => ("tensor", 100 * benchmark.Operations / milliseconds / 1e9 / _ceilings?.Matrix),
            _ => ("", null),
        };
        double? special = benchmark.Special > 0 ? 100 * benchmark.Special / milliseconds / 1e6 / _ceilings?.Special : null;
        (name, percent) = special > (percent ?? 0) ? ("special", special) : (name, percent);
        return percent is null ? (null, null) : (name, percent);
    }

    private BenchMachine Machine() => new()
    {
        Device = _contexts.Values.Select(entry => entry.Context.Backend).FirstOrDefault() switch
        {
            CudaBackend cuda => $"{cuda.Context.Device.Name}, {cuda.Context.Device.MultiprocessorCount} multiprocessors",
            { } backend => backend.Description,
            null => "none",
        },
        Driver = useCuda ? DriverRelease() : null,
        Cuda = useCuda ? CudaDriver.Version?.ToString() : null,
        Nvrtc = useCuda ? RuntimeCompiler.Load().Version.ToString() : null,
        Host = $"{RuntimeInformation.OSDescription}, {RuntimeInformation.OSArchitecture}, {Environment.ProcessorCount} processors",
        Runtime = RuntimeInformation.FrameworkDescription,
    };

    /// <summary>The driver's release, as in "580.65.06", from the text of its kernel module.</summary>
    private static string? DriverRelease()
    {
        try
        {
            return File.ReadLines("/proc/driver/nvidia/version").First().Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .FirstOrDefault(word => word.Length > 3 && char.IsAsciiDigit(word[0]) && word.Contains('.', StringComparison.Ordinal));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or InvalidOperationException)
        {
            return null;
        }
    }

    private static string? CommitOfWorkingTree()
    {
        try
        {
            ProcessStartInfo start = new("git", ["describe", "--always", "--dirty", "--exclude=*"]) { RedirectStandardOutput = true, RedirectStandardError = true };
            using Process git = Process.Start(start)!;
            string commit = git.StandardOutput.ReadToEnd().Trim();
            git.WaitForExit();
            return git.ExitCode == 0 && commit.Length > 0 ? commit : null;
        }
        catch (Win32Exception)
        {
            return null;
        }
    }
}
