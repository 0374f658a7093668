using System.Globalization;
using System.Text.Json;
using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// What a run is at some step: a folder with the model in the Hugging Face layout, which every command loads, or the adapter in PEFT's where
/// that alone is trained; the optimizer's moments, and how far the run has come. The folder takes its name when all of it is on the disk, so
/// one that has its name is whole.
/// </summary>
public static class TrainingCheckpoint
{
    private const string Prefix = "step-";
    private const string Unfinished = ".unfinished-";
    private const string ProgressFile = "training.json";
    private const string MomentsFile = "optimizer.bin";

    /// <summary>Saves a run, and deletes the oldest of its checkpoints beyond those that are to be kept.</summary>
    /// <param name="directory">The run's folder; created where it is absent.</param>
    /// <param name="trainer">The run.</param>
    /// <param name="companions">Files that the checkpoint gets a copy of.</param>
    /// <returns>The checkpoint's folder.</returns>
    public static string Save(string directory, Trainer trainer, params IReadOnlyList<string> companions)
    {
        ArgumentNullException.ThrowIfNull(companions);
        ArgumentException.ThrowIfNullOrEmpty(directory);
        ArgumentNullException.ThrowIfNull(trainer);
        Directory.CreateDirectory(directory);
        string name = string.Create(CultureInfo.InvariantCulture, $"{Prefix}{trainer.StepsDone:D10}");
        string path = Path.Combine(directory, name), temporary = UnfinishedPath(directory);
        try
        {
            WriteModel(temporary, trainer.Model);
            MomentsFormat.Write(Path.Combine(temporary, MomentsFile), trainer);
            foreach (string companion in companions)
            {
                File.Copy(companion, Path.Combine(temporary, Path.GetFileName(companion)));
            }

            TrainingProgress progress = new(
                trainer.StepsDone, trainer.TokensSeen, trainer.Seconds, trainer.Model.Adapter is null ? null : Fingerprint(trainer.Model),
                trainer.LossScale);
            using (FileStream file = new(Path.Combine(temporary, ProgressFile), FileMode.CreateNew))
            {
                JsonSerializer.Serialize(file, progress, TrainingJson.Default.TrainingProgress);
                file.Flush(flushToDisk: true);
            }

            // A run that went on from an older checkpoint comes by the same step again, with the same bits.
            if (Directory.Exists(path))
            {
                Delete(path);
            }

            Directory.Move(temporary, path);
        }
        catch
        {
            if (Directory.Exists(temporary))
            {
                Directory.Delete(temporary, recursive: true);
            }

            throw;
        }

        foreach (string old in All(directory).SkipLast(trainer.Options.KeepCheckpoints).ToArray())
        {
            Delete(old);
        }

        return path;
    }

    /// <summary>The newest whole checkpoint of a run's folder, or null. Nothing is changed: the run may be going on.</summary>
    public static string? Latest(string directory) => All(directory) is [.., var latest] ? latest : null;

    /// <summary>The whole checkpoints of a run's folder, the oldest first. Nothing is changed: the run may be going on.</summary>
    public static IReadOnlyList<string> All(string directory) =>
        Directory.Exists(directory)
            ? [.. Directory.EnumerateDirectories(directory, $"{Prefix}*").Order(StringComparer.Ordinal)]
            : [];

    /// <summary>Deletes what a killed run left unfinished. Only for whoever writes the run: a reader would spoil what is being written.</summary>
    internal static void DeleteUnfinished(string directory)
    {
        foreach (string unfinished in Directory.GetDirectories(directory, $"{Unfinished}*"))
        {
            Directory.Delete(unfinished, recursive: true);
        }
    }

    /// <summary>Puts a trainer, its model and its optimizer where a checkpoint stands.</summary>
    /// <param name="path">The checkpoint's folder.</param>
    /// <param name="trainer">A trainer of a model of the same configuration.</param>
    /// <exception cref="CheckpointException">A file is missing or damaged, or belongs to another model. The trainer is not to be used then.</exception>
    public static void Restore(string path, Trainer trainer)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(trainer);
        TrainingProgress progress = ReadProgress(Path.Combine(path, ProgressFile));
        if (trainer.Model.Adapter is { } adapter)
        {
            LoadAdapter(path, trainer.Model, adapter, progress);
        }
        else
        {
            LoadModel(path, trainer.Model);
        }

        MomentsFormat.Read(Path.Combine(path, MomentsFile), trainer, progress.Step);
        trainer.Optimizer.StepsTaken = progress.Step;
        trainer.TokensSeen = progress.Tokens;
        trainer.Seconds = progress.Seconds;

        // A run that goes on in another type begins with its own.
        trainer.LossScale = trainer.LossScale is null ? null : progress.LossScale ?? trainer.LossScale;
        trainer.Model.Gradients.Clear();
    }

    /// <summary>Writes what is trained: a model as a checkpoint in the Hugging Face layout, an adapter in PEFT's.</summary>
    /// <param name="directory">The folder.</param>
    /// <param name="model">The model.</param>
    public static void WriteModel(string directory, TrainableModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        NativeHostMemory? memory = null;
        try
        {
            if (model.Adapter is { } adapter)
            {
                LoraAdapter.Save(directory, adapter, model.Config, Download);
            }
            else
            {
                CheckpointWriter.Write(directory, model.Config, Download, new CheckpointSaveOptions { WeightType = DataType.Float32 });
            }
        }
        finally
        {
            memory?.Dispose();
        }

        StoredTensor Download(ExpectedTensor tensor)
        {
            memory?.Dispose();
            memory = new NativeHostMemory(tensor.ElementCount * sizeof(float));
            return model.Parameters.Download(tensor, memory);
        }
    }

    private static void LoadModel(string path, TrainableModel model)
    {
        if (File.Exists(Path.Combine(path, LoraAdapter.ConfigFileName)))
        {
            throw new CheckpointException(
                path, "the checkpoint is of an adapter, but all of the model is trained", "Resume with the run's own recipe");
        }

        using Checkpoint checkpoint = Checkpoint.Open(path);
        if (!checkpoint.Config.Equals(model.Config))
        {
            throw new CheckpointException(path, "the checkpoint is of a model of another configuration", "Resume with the run's own recipe");
        }

        model.Parameters.Load(checkpoint.Tensors);
    }

    private static void LoadAdapter(string path, TrainableModel model, LoraSettings settings, TrainingProgress progress)
    {
        using LoraAdapter adapter = LoraAdapter.Open(path, model.Config);
        if (!adapter.Settings.IsLike(settings))
        {
            throw new CheckpointException(
                path, $"the checkpoint's adapter is of {adapter.Settings}, but {settings} is trained", "Resume with the run's own recipe");
        }

        if (progress.Base != Fingerprint(model))
        {
            throw new CheckpointException(
                path, "the adapter was trained on other weights than those that are frozen now",
                "Resume with the model that the run began with");
        }

        model.Parameters.Load(adapter.Tensors);
    }

    private static string Fingerprint(TrainableModel model) => Convert.ToHexStringLower(model.BaseFingerprint.Span);

    /// <summary>Takes the checkpoint's name first, so that a process that dies meanwhile leaves none that has its name and is not whole.</summary>
    private static void Delete(string path)
    {
        string nameless = UnfinishedPath(Path.GetDirectoryName(path)!);
        Directory.Move(path, nameless);
        Directory.Delete(nameless, recursive: true);
    }

    private static string UnfinishedPath(string directory) => Path.Combine(directory, $"{Unfinished}{Guid.NewGuid():N}");

    private static TrainingProgress ReadProgress(string path)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), TrainingJson.Default.TrainingProgress)
                ?? throw new JsonException("It is null.");
        }
        catch (Exception exception) when (exception is IOException or JsonException)
        {
            throw new CheckpointException(
                path, $"how far the run had come cannot be read: {exception.Message.TrimEnd('.')}", "Resume from another checkpoint", exception);
        }
    }
}

/// <summary>How far a run has come.</summary>
/// <param name="Step">Steps done.</param>
/// <param name="Tokens">Tokens seen.</param>
/// <param name="Seconds">Seconds of training.</param>
/// <param name="Base">The fingerprint of the model whose adapter is trained; null where all of it is.</param>
/// <param name="LossScale">What the loss is multiplied by; null where it is not.</param>
internal sealed record TrainingProgress(long Step, long Tokens, double Seconds, string? Base = null, LossScale? LossScale = null);
