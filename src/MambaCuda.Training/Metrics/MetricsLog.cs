using System.Text.Json;

namespace MambaCuda.Training;

/// <summary>
/// A file of JSON lines, one for each reported step, in the order of steps. Each line is written at once, so what a killed run leaves is
/// whole lines and perhaps one that is cut; that one is dropped by whoever opens or reads the file next.
/// </summary>
public sealed class MetricsLog : IDisposable
{
    private const byte LineEnd = (byte)'\n';

    private readonly FileStream _file;

    private MetricsLog(FileStream file) => _file = file;

    /// <summary>Begins a file, or goes on with one.</summary>
    /// <param name="path">The file.</param>
    /// <param name="resumedStep">
    /// The steps that are done: lines of later steps, which a killed run wrote after its last checkpoint, are cut away. 0 begins anew.
    /// </param>
    /// <exception cref="InvalidDataException">A whole line before that step is no record of a step; the message names the line.</exception>
    public static MetricsLog Open(string path, long resumedStep = 0)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentOutOfRangeException.ThrowIfNegative(resumedStep);
        FileStream file = new(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 1);
        try
        {
            long kept = 0;
            foreach ((TrainingMetrics metrics, long end) in Lines(file, path, resumedStep))
            {
                kept = end;
            }

            file.SetLength(kept);
            file.Position = kept;
            return new MetricsLog(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>All steps in a file, also in one that is being written.</summary>
    /// <exception cref="InvalidDataException">A whole line is no record of a step; the message names the line.</exception>
    public static IReadOnlyList<TrainingMetrics> Read(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 1);
        return [.. Lines(file, path, long.MaxValue).Select(line => line.Metrics)];
    }

    /// <summary>Appends a step.</summary>
    public void Append(TrainingMetrics metrics)
    {
        ArgumentNullException.ThrowIfNull(metrics);
        _file.Write([.. JsonSerializer.SerializeToUtf8Bytes(metrics, TrainingJson.Default.TrainingMetrics), LineEnd]);
        _file.Flush();
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => _file.Dispose();

    /// <summary>The whole lines up to a step, each with the place behind it.</summary>
    private static IEnumerable<(TrainingMetrics Metrics, long End)> Lines(FileStream file, string path, long lastStep)
    {
        byte[] bytes = new byte[file.Length];
        int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        int number = 1;
        for (int start = 0, end; (end = Array.IndexOf(bytes, LineEnd, start, length - start)) >= 0; start = end + 1, number++)
        {
            TrainingMetrics metrics = Parse(bytes.AsSpan(start, end - start), path, number);
            if (metrics.Step > lastStep)
            {
                yield break;
            }

            yield return (metrics, end + 1);
        }
    }

    private static TrainingMetrics Parse(ReadOnlySpan<byte> line, string path, int number)
    {
        try
        {
            return JsonSerializer.Deserialize(line, TrainingJson.Default.TrainingMetrics)
                ?? throw new JsonException("null is no record of a step");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException(
                $"{path}, line {number}: this is no record of a training step. Move the file away, or take the line out.", e);
        }
    }
}
