using System.Globalization;

namespace MambaCuda.Cli;

/// <summary>
/// One line on standard error that says how far loading has come; only on a terminal, only where it takes a while, and gone when it is
/// done.
/// </summary>
internal sealed class ProgressLine(TextWriter error) : IProgress<LoadProgress>, IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(300);
    private readonly long _started = System.Diagnostics.Stopwatch.GetTimestamp();
    private int _width;

    public void Report(LoadProgress value)
    {
        if (error == System.Console.Error && !System.Console.IsErrorRedirected
            && System.Diagnostics.Stopwatch.GetElapsedTime(_started) > Patience)
        {
            string line = string.Create(
                CultureInfo.InvariantCulture, $"loading {value.BytesRead / 1e6:f0} of {value.TotalBytes / 1e6:f0} MB");
            error.Write("\r" + line.PadRight(_width));
            _width = line.Length;
        }
    }

    public void Dispose()
    {
        if (_width > 0)
        {
            error.Write("\r" + new string(' ', _width) + "\r");
        }
    }
}
