using System.Diagnostics;
using System.Globalization;
using MambaCuda.Training;

namespace MambaCuda.Cli;

/// <summary>
/// One line on standard error that says how far loading or reading has come; only on a terminal, only where it takes a while, and gone
/// when it is done.
/// </summary>
internal sealed class ProgressLine(TextWriter error) : IProgress<LoadProgress>, IProgress<CorpusProgress>, IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);
    private long _next = Stopwatch.GetTimestamp() + (long)(Patience.TotalSeconds * Stopwatch.Frequency);
    private readonly TerminalLine _line = new(error);

    public void Report(LoadProgress value)
    {
        if (IsTime())
        {
            Show($"loading {value.BytesRead / 1e6:f0} of {value.TotalBytes / 1e6:f0} MB");
        }
    }

    public void Report(CorpusProgress value)
    {
        if (IsTime())
        {
            string all = value.TotalBytes is { } total ? string.Create(CultureInfo.InvariantCulture, $" of {total / 1e6:f0}") : "";
            Show($"tokenizing {value.BytesRead / 1e6:f0}{all} MB, {value.Documents:N0} documents, {value.Tokens:N0} tokens");
        }
    }

    public void Dispose() => _line.Erase();

    private bool IsTime()
    {
        long now = Stopwatch.GetTimestamp();
        if (!_line.IsTerminal || now < _next)
        {
            return false;
        }

        _next = now + (long)(Pause.TotalSeconds * Stopwatch.Frequency);
        return true;
    }

    private void Show(FormattableString text) => _line.Show(FormattableString.Invariant(text));
}
