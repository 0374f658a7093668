using System.Diagnostics;
using System.Globalization;
using MambaCuda.Training;

namespace MambaCuda.Cli;

/// <summary>
/// How a training run goes, on standard error: one line that is written over on a terminal, else a line for every twentieth of the run.
/// </summary>
internal sealed class TrainingReport(TextWriter error, long steps) : IProgress<TrainingMetrics>, IDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);
    private readonly TerminalLine _line = new(error);
    private readonly long _every = Math.Max(1, steps / 20);
    private long _shown;

    public void Report(TrainingMetrics value)
    {
        bool isLast = value.Step == steps;
        if (_line.IsTerminal)
        {
            if (isLast || Stopwatch.GetElapsedTime(_shown) > Pause || value.ValidationLoss is not null)
            {
                _line.Show(Line(value));
                _shown = Stopwatch.GetTimestamp();
            }

            if (value.ValidationLoss is not null)
            {
                // What was held out stays readable above the line.
                _line.Keep();
            }
        }
        else if (isLast || value.Step == 1 || value.Step % _every == 0 || value.ValidationLoss is not null)
        {
            error.WriteLine(Line(value));
        }
    }

    public void Dispose() => _line.Keep();

    private string Line(TrainingMetrics value)
    {
        string left = value.EtaSeconds is { } seconds && double.IsFinite(seconds) && seconds > 0
            ? $", {TimeSpan.FromSeconds(Math.Ceiling(seconds)):g} left" : "";
        string heldOut = value.ValidationLoss is { } loss ? string.Create(CultureInfo.InvariantCulture, $", held out {loss:f4}") : "";
        string scale = value.LossScale is { } factor ? string.Create(CultureInfo.InvariantCulture, $", loss scale {factor:N0}") : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"step {value.Step:N0} of {steps:N0}: loss {value.Loss:f4}, gradient norm {value.GradientNorm:g3}, learning rate "
            + $"{value.LearningRate:g3}, {value.TokensPerSecond:N0} tokens/s{scale}{left}{heldOut}");
    }
}
