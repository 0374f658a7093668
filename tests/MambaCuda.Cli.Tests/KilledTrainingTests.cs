using System.Diagnostics;
using System.Globalization;
using MambaCuda.Testing;
using MambaCuda.Training;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda train in processes of its own, which are killed: nothing that they could do at their end is done.</summary>
public sealed class KilledTrainingTests : IDisposable
{
    private const int Seed = 20261125;
    private const int Steps = 150;

    // Beyond the fewest, kills while a checkpoint is written are tried until one has left it half written.
    private const int FewestKillsWhileWriting = 5;
    private const int MostKillsWhileWriting = 12;

    // What hangs is ended; what only waits for a processor that others use is not.
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    private readonly Random _random = new(Seed);
    private readonly TemporaryFolder _folder = new();
    private readonly List<Process> _started = [];
    private readonly List<string> _moments = [];

    private string RunFolder => _folder.File("killed");

    private string Told => $"Seed {Seed}; killed: {string.Join("; ", _moments)}.";

    public void Dispose()
    {
        foreach (Process process in _started)
        {
            if (!process.HasExited)
            {
                process.Kill();
                process.WaitForExit();
            }

            process.Dispose();
        }

        _folder.Dispose();
    }

    [Fact]
    public async Task A_run_that_is_killed_again_and_again_ends_with_the_weights_of_one_that_never_was()
    {
        string text = _folder.Write("a.txt", string.Join(' ', Enumerable.Range(0, 2000).Select(number => number * 7919 % 997)));
        string whole = _folder.File("whole");
        await Finish(whole, text);

        await KillAfter(text, TimeSpan.FromMilliseconds(_random.Next(50, 500)));
        for (int i = 0; i < 3; i++)
        {
            await KillAfterSteps(text, _random.Next(1, 4), Milliseconds(20));
        }

        bool wasHalfWritten = false;
        for (int i = 0; i < FewestKillsWhileWriting || (i < MostKillsWhileWriting && !wasHalfWritten); i++)
        {
            // At once, or at some place of what follows: the moments, the checkpoint's name, the deletion of an older one.
            wasHalfWritten |= await KillWhileWriting(text, _random.Next(1, 4), i % 2 == 0 ? TimeSpan.Zero : Milliseconds(20));
        }

        Assert.True(wasHalfWritten, $"No kill fell into the writing of a checkpoint. {Told}");
        await Finish(RunFolder, text);

        string last = string.Create(CultureInfo.InvariantCulture, $"step-{Steps:D10}");
        foreach (string file in new[] { "model.safetensors", "optimizer.bin", "config.json", "tokenizer.json" })
        {
            byte[] expected = File.ReadAllBytes(Path.Combine(whole, last, file));
            byte[] actual = File.ReadAllBytes(Path.Combine(RunFolder, last, file));
            Assert.True(expected.AsSpan().SequenceEqual(actual), $"{file} is not that of a run that was never killed. {Told}");
        }

        Assert.True(Losses(whole).SequenceEqual(Losses(RunFolder)), $"The metrics are not those of a run that was never killed. {Told}");
        Assert.True(Losses(whole).Select(step => step.Step).SequenceEqual(Enumerable.Range(1, Steps).Select(step => (long)step)), Told);
        string[] names = [.. Directory.GetFileSystemEntries(whole).Select(Path.GetFileName).Order(StringComparer.Ordinal)!];
        string[] left = [.. Directory.GetFileSystemEntries(RunFolder).Select(Path.GetFileName).Order(StringComparer.Ordinal)!];
        Assert.True(names.SequenceEqual(left), $"The folder has {string.Join(", ", left)}. {Told}");
    }

    private TimeSpan Milliseconds(int most) => TimeSpan.FromMilliseconds(_random.NextDouble() * most);

    /// <summary>Kills a process some time after its start, which on a slow machine is before it has done anything.</summary>
    private async Task KillAfter(string text, TimeSpan time)
    {
        Process process = Start(RunFolder, text);
        await Task.Delay(time, TestContext.Current.CancellationToken);
        await Kill(process, string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:f0} ms after its start"));
    }

    /// <summary>Kills a process some time after it has gone so many steps on.</summary>
    private async Task KillAfterSteps(string text, int steps, TimeSpan time)
    {
        long until = NewestStep() + steps;
        Process process = Start(RunFolder, text);
        await Until(process, () => LastStep() >= until);
        await Task.Delay(time, TestContext.Current.CancellationToken);
        await Kill(process, string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:f1} ms after step {until}"));
    }

    /// <summary>Kills a process some time after it has begun to write a checkpoint, when it has gone so many steps on.</summary>
    /// <returns>Whether it has left the checkpoint half written.</returns>
    private async Task<bool> KillWhileWriting(string text, int steps, TimeSpan time)
    {
        long until = NewestStep() + steps;
        Process process = Start(RunFolder, text);
        await Until(process, () => LastStep() >= until);
        await Until(process, () => Directory.EnumerateDirectories(RunFolder, ".unfinished-*").Any(), pause: 0);
        Thread.Sleep(time);
        await Kill(
            process,
            string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:f1} ms into a checkpoint from step {until} on"));

        // An old checkpoint that is being deleted has such a name too, but by then the new one has its own.
        bool isHalfWritten = Directory.EnumerateDirectories(RunFolder, ".unfinished-*").Any() && NewestStep() < LastStep();
        _moments[^1] += isHalfWritten ? ", a checkpoint is left half written" : ", none is left half written";
        return isHalfWritten;
    }

    private async Task Kill(Process process, string moment)
    {
        process.Kill();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        _moments.Add($"{moment} (it had logged {LastStep()} steps, saved {NewestStep()})");
        Assert.True(NewestStep() < Steps, $"The run had ended before it was killed: give it more steps. {Told}");
    }

    private async Task Until(Process process, Func<bool> happened, int pause = 1)
    {
        long started = Stopwatch.GetTimestamp();
        while (!happened())
        {
            if (process.HasExited)
            {
                Assert.Fail($"The process ended by itself with {process.ExitCode}: {await process.StandardError.ReadToEndAsync()} {Told}");
            }

            Assert.True(Stopwatch.GetElapsedTime(started) < Limit, $"The process had not come so far after {Limit}. {Told}");
            Thread.Sleep(pause);
        }
    }

    private async Task Finish(string run, string text)
    {
        Process process = Start(run, text);
        using CancellationTokenSource limit = new(Limit);
        Task<string> error = process.StandardError.ReadToEndAsync(limit.Token);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"The run had not ended after {Limit}. {Told}");
        }

        Assert.True(process.ExitCode == ExitCode.Done, $"The process ended with {process.ExitCode}: {await error} {Told}");
    }

    private Process Start(string run, string text)
    {
        string self = Environment.ProcessPath!;
        bool isHost = Path.GetFileNameWithoutExtension(self).Equals("dotnet", StringComparison.OrdinalIgnoreCase);
        ProcessStartInfo start = new(isHost ? self : "dotnet") { RedirectStandardError = true, RedirectStandardOutput = true };
        string[] arguments =
        [
            Path.Combine(AppContext.BaseDirectory, "mamba-cuda.dll"), "train", text, "--output", run, "--device", "cpu", "--threads", "1",
            "--hidden", "48", "--layers", "2", "--batch", "2", "--length", "16", "--steps", $"{Steps}", "--checkpoint-every", "1",
        ];
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        _started.Add(Process.Start(start)!);
        return _started[^1];
    }

    /// <summary>The step of the newest checkpoint; 0 where there is none.</summary>
    private long NewestStep() => TrainingCheckpoint.Latest(RunFolder) is { } latest
        ? long.Parse(Path.GetFileName(latest)["step-".Length..], CultureInfo.InvariantCulture)
        : 0;

    /// <summary>The last step in the log, which may be ahead of the checkpoint; 0 where there is none.</summary>
    private long LastStep()
    {
        string path = Path.Combine(RunFolder, TrainingRun.MetricsFile);
        return File.Exists(path) && MetricsLog.Read(path) is { Count: > 0 } log ? log[^1].Step : 0;
    }

    private static IEnumerable<(long Step, double Loss, double Norm)> Losses(string run) =>
        MetricsLog.Read(Path.Combine(run, TrainingRun.MetricsFile)).Select(step => (step.Step, step.Loss, step.GradientNorm));
}
