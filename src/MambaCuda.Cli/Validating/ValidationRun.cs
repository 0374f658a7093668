using System.Diagnostics;
using System.Globalization;
using MambaCuda.Driver;
using MambaCuda.Kernels;
using MambaCuda.Validation;

namespace MambaCuda.Cli;

/// <summary>Runs the rows that are wanted, one after the other, and tells of each as it finishes. Owns the backends.</summary>
internal sealed class ValidationRun : IDisposable
{
    private readonly IReadOnlyList<Backend> _backends;
    private readonly string _reason;
    private readonly IReadOnlyList<(Backend Backend, ValidationRow Row)> _rows;
    private readonly ValidationFilter _filter;
    private readonly List<ValidationResult> _results = [];
    private Task _current = Task.CompletedTask;
    private int _ran;
    private string? _stopped;

    /// <summary>Chooses the rows.</summary>
    /// <param name="backends">One for each type of activations.</param>
    /// <param name="reason">Why on these.</param>
    /// <param name="filter">Words that a row must have; null for all.</param>
    /// <param name="small">Whether only small rows are wanted.</param>
    /// <exception cref="UsageException">No row has the words.</exception>
    public ValidationRun(IReadOnlyList<Backend> backends, string reason, string? filter, bool small)
    {
        (_backends, _reason) = (backends, reason);
        List<(Backend Backend, ValidationRow Row, string Text)> all =
        [
            .. from suite in ValidationTable.Suites
               from backend in backends
               from row in suite(backend)
               where !small || row.IsSmall
               select (backend, row, ValidationFilter.TextOf(row, backend)),
        ];
        _filter = new ValidationFilter(filter, [.. all.Select(each => each.Text)]);
        _rows = [.. all.Where(each => _filter.Wants(each.Text)).Select(each => (each.Backend, each.Row))];

        // Only kernels have variants that come out later.
        if (_rows.Count == 0 || (_filter.OfVariants.Count > 0 && !backends.Any(backend => backend is CudaBackend)))
        {
            Dispose();
            throw NoRow(filter);
        }
    }

    private string Device => _backends[0] is CudaBackend { Context.Device: { } card }
        ? $"{card.Name}, compute capability {card.ComputeCapability}, {card.MultiprocessorCount} multiprocessors"
        : $"{_backends[0].Name}, {_backends[0].Description}";

    /// <summary>Prints the rows that would run.</summary>
    public void List(TextWriter output, bool json)
    {
        if (json)
        {
            output.WriteLine(Report([.. _rows.Select(each => ValidationReportRow.Of(each.Row, each.Backend.ActivationType))]).ToJson());
            return;
        }

        output.WriteLine(ValidationLines.Header);
        foreach ((Backend backend, ValidationRow row) in _rows)
        {
            output.WriteLine(ValidationLines.Of(row, backend.ActivationType));
        }

        output.WriteLine($"{_rows.Count} rows");
    }

    /// <summary>Runs the rows. Cancelled, it tells of what was done so far.</summary>
    /// <returns>An <see cref="ExitCode"/>.</returns>
    /// <exception cref="UsageException">No row turned out to have the words.</exception>
    public async Task<int> RunAsync(TextWriter output, TextWriter error, bool json, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        TextWriter lines = json ? TextWriter.Null : output;
        await lines.WriteLineAsync($"device: {Device}");
        await lines.WriteLineAsync($"chosen: {_reason}");
        await lines.WriteLineAsync(ValidationLines.Header);
        if (_filter.OfVariants.Count > 0)
        {
            string words = string.Join("', '", _filter.OfVariants);
            await error.WriteLineAsync($"No operation, type or shape has '{words}': {_rows.Count} rows run to see which variant does.");
        }

        foreach ((Backend backend, ValidationRow row) in _rows)
        {
            if (await RunAsync(backend, row, cancellation) is not { } result)
            {
                break;
            }

            if (_filter.Shows(result))
            {
                _results.Add(result);
                await lines.WriteLineAsync(ValidationLines.Of(result));
                await lines.FlushAsync(CancellationToken.None);
            }

            if (result.Problem is not null && WhyLost(backend) is { } lost)
            {
                _stopped = $"the device no longer answers ({lost})";
                break;
            }
        }

        if (_results.Count == 0 && _stopped is null)
        {
            throw NoRow(string.Join(' ', _filter.OfVariants));
        }

        int failed = _results.Count(result => !result.Passed);
        await lines.WriteLineAsync(Summary(failed, Stopwatch.GetElapsedTime(start)));
        if (json)
        {
            await output.WriteLineAsync(Report([.. _results.Select(ValidationReportRow.Of)]).ToJson());
        }

        return cancellation.IsCancellationRequested ? ExitCode.Cancelled : failed > 0 ? ExitCode.Failed : ExitCode.Done;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // A row that a cancelled run left behind still uses its backend.
        if (_current.IsCompleted)
        {
            DisposeBackends();
            return;
        }

        _ = _current.ContinueWith(_ => DisposeBackends(), TaskScheduler.Default);
    }

    private static UsageException NoRow(string? filter) =>
        new($"No row has '{filter}' in its operation, type, shape or variant; --list shows all.");

    private async Task<ValidationResult?> RunAsync(Backend backend, ValidationRow row, CancellationToken cancellation)
    {
        if (!cancellation.IsCancellationRequested)
        {
            Task<ValidationResult> running = Task.Run(() => row.Run(backend), CancellationToken.None);
            _current = running;
            try
            {
                ValidationResult result = await running.WaitAsync(cancellation);
                _ran++;
                return result;
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
            }
        }

        _stopped = "cancelled";
        return null;
    }

    /// <summary>Why a device cannot go on after an error, as a card cannot after a wrong access to memory; null where it can.</summary>
    private static string? WhyLost(Backend backend)
    {
        try
        {
            backend.Synchronize();
            return null;
        }
        catch (CudaException exception)
        {
            return exception.Message;
        }
        catch (ArgumentOutOfRangeException)
        {
            // What the failed row's kernel reported of its operands.
            return null;
        }
    }

    private string Summary(int failed, TimeSpan elapsed)
    {
        string counts = $"{_results.Count} {(_results.Count == 1 ? "row" : "rows")}: {_results.Count - failed} passed, {failed} failed";
        string rest = _stopped is null ? "" : $"; {_rows.Count - _ran} not run: {_stopped}";
        return string.Create(CultureInfo.InvariantCulture, $"{counts}{rest}; {elapsed.TotalSeconds:f1} s");
    }

    private ValidationReport Report(IReadOnlyList<ValidationReportRow> rows) => new()
    {
        Device = Device,
        Reason = _reason,
        Rows = rows,
        Passed = _results.Count(result => result.Passed),
        Failed = _results.Count(result => !result.Passed),
        NotRun = _rows.Count - _ran,
        Stopped = _stopped,
    };

    private void DisposeBackends()
    {
        foreach (Backend backend in _backends)
        {
            try
            {
                backend.Dispose();
            }
            catch (CudaException)
            {
                // Of a device that no longer answers, which was told.
            }
        }
    }
}
