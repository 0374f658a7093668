using System.Globalization;
using System.Text.Json;

namespace MambaCuda.Training;

/// <summary>
/// A run with a folder: checkpoints, metrics.jsonl, and the batch of a step that failed. A run that was stopped, by a key or by a power cut,
/// goes on from its newest checkpoint when it is opened again.
/// </summary>
public sealed class TrainingRun : IDisposable
{
    /// <summary>The name of the file with one line of JSON for each step.</summary>
    public const string MetricsFile = "metrics.jsonl";

    // Held open, with nothing in it, by the one process that writes the run; its end, of whatever kind, lets go of it.
    private const string LockFile = ".lock";

    private readonly FileStream _lock;
    private readonly Trainer _trainer;
    private readonly MetricsLog _log;
    private readonly string[] _companions;

    private TrainingRun(string directory, Trainer trainer, string[] companions)
    {
        Folder = directory;
        _trainer = trainer;
        _companions = companions;
        _lock = Lock(directory);
        try
        {
            TrainingCheckpoint.DeleteUnfinished(directory);
            if (TrainingCheckpoint.Latest(directory) is { } latest)
            {
                TrainingCheckpoint.Restore(latest, trainer);
            }

            ResumedStep = trainer.StepsDone;
            _log = MetricsLog.Open(Path.Combine(directory, MetricsFile), ResumedStep);
        }
        catch
        {
            _lock.Dispose();
            throw;
        }

        trainer.OnDivergence = SaveBatch;
    }

    /// <summary>The run's folder.</summary>
    public string Folder { get; }

    /// <summary>The steps that were done when it was opened; 0 for a new one.</summary>
    public long ResumedStep { get; }

    /// <summary>The folder of the newest checkpoint, or null before the first.</summary>
    public string? Checkpoint => TrainingCheckpoint.Latest(Folder);

    /// <summary>Begins a run, or goes on with one; what a killed process left unfinished in the folder is deleted.</summary>
    /// <param name="directory">Its folder; created where it is absent.</param>
    /// <param name="trainer">A trainer before its first step; belongs to the caller.</param>
    /// <param name="companions">Files that every checkpoint gets a copy of: the tokenizer's.</param>
    /// <exception cref="CheckpointException">The folder's checkpoint is damaged, or of another model.</exception>
    /// <exception cref="IOException">The folder cannot be written, or another process has the run open.</exception>
    public static TrainingRun Open(string directory, Trainer trainer, params string[] companions)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        ArgumentNullException.ThrowIfNull(trainer);
        ArgumentNullException.ThrowIfNull(companions);
        Directory.CreateDirectory(directory);
        return new TrainingRun(directory, trainer, companions);
    }

    /// <summary>Takes all steps that are left, saving checkpoints on the way and one at the end.</summary>
    /// <param name="progress">Told of every step; or null.</param>
    /// <param name="cancellation">Ends the run after the step at hand; a checkpoint is saved first.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="TrainingDivergedException">A step was not finite; the newest checkpoint is from before.</exception>
    public void Complete(IProgress<TrainingMetrics>? progress = null, CancellationToken cancellation = default)
    {
        TrainerOptions options = _trainer.Options;
        long saved = ResumedStep;
        while (_trainer.StepsDone < options.Steps && !cancellation.IsCancellationRequested)
        {
            TrainingMetrics metrics = _trainer.Step();
            _log.Append(metrics);
            progress?.Report(metrics);
            if (options.CheckpointEvery > 0 && _trainer.StepsDone % options.CheckpointEvery == 0)
            {
                Save();
            }
        }

        if (saved != _trainer.StepsDone)
        {
            Save();
        }

        cancellation.ThrowIfCancellationRequested();

        void Save()
        {
            TrainingCheckpoint.Save(Folder, _trainer, _companions);
            saved = _trainer.StepsDone;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _log.Dispose();
        _lock.Dispose();
    }

    private static FileStream Lock(string directory)
    {
        try
        {
            return new FileStream(
                Path.Combine(directory, LockFile), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1);
        }
        catch (IOException exception)
        {
            throw new IOException(
                $"{directory}: the run cannot be opened for writing; is another process training it? {exception.Message}", exception);
        }
    }

    private string SaveBatch(TokenBatch batch)
    {
        string path = Path.Combine(
            Folder, string.Create(CultureInfo.InvariantCulture, $"failed-step-{_trainer.StepsDone + 1:D10}.json"));
        FailedBatch failed = new(
            _trainer.StepsDone + 1, batch.Layout.Starts.ToArray(), batch.Tokens.ToArray(), batch.Targets.ToArray());
        File.WriteAllBytes(path, JsonSerializer.SerializeToUtf8Bytes(failed, TrainingJson.Default.FailedBatch));
        return path;
    }
}

/// <summary>The batch of a step that was not finite.</summary>
/// <param name="Step">The step, from 1 on.</param>
/// <param name="Starts">The first row of each sequence, and the number of rows.</param>
/// <param name="Tokens">The ids.</param>
/// <param name="Targets">The id that follows each.</param>
internal sealed record FailedBatch(long Step, long[] Starts, int[] Tokens, int[] Targets);
