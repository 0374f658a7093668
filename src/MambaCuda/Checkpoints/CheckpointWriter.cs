using System.Buffers;
using System.Text.Json;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Writes a checkpoint in the Hugging Face layout: config.json, and model.safetensors or shards with an index. The files take their
/// names when all are complete and on the disk; until then a checkpoint that is already there stays as it is.
/// </summary>
public static class CheckpointWriter
{
    /// <summary>Writes a checkpoint.</summary>
    /// <param name="directory">The folder; created where it is absent. A checkpoint in it is replaced.</param>
    /// <param name="config">The configuration.</param>
    /// <param name="tensor">
    /// Gives the tensor of each name and shape that the configuration implies. Asked once for each, in the order of
    /// <see cref="MambaConfig.StoredTensors"/>; its memory must stay until the next is asked for. Where
    /// <see cref="CheckpointSaveOptions.WeightType"/> is null, all but the parts of quantized weights are asked for at the start, and must
    /// stay to the end.
    /// </param>
    /// <param name="options">Type and sharding; null for one file with the types as they are.</param>
    /// <param name="progress">Is told how far it has come, or null.</param>
    /// <param name="cancellationToken">Ends the writing and removes what was written.</param>
    /// <exception cref="CheckpointException">
    /// A value of the configuration is out of range, a tensor is not of the expected shape, holds a number that the type cannot
    /// hold, or the files cannot be written.
    /// </exception>
    public static void Write(
        string directory,
        MambaConfig config,
        Func<ExpectedTensor, StoredTensor> tensor,
        CheckpointSaveOptions? options = null,
        IProgress<CheckpointProgress>? progress = null,
        CancellationToken cancellationToken = default) =>
        Write(directory, config, tensor, options, [], progress, cancellationToken);

    /// <summary>As the public one, with further files that are copied into the folder.</summary>
    internal static void Write(
        string directory,
        MambaConfig config,
        Func<ExpectedTensor, StoredTensor> tensor,
        CheckpointSaveOptions? options,
        IEnumerable<string> companions,
        IProgress<CheckpointProgress>? progress,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        options ??= new CheckpointSaveOptions();
        config.Validate(directory);
        if (options.WeightType is { } type && !type.IsWeightType())
        {
            throw new ArgumentException($"Weights cannot be saved as {type}; they are Float32, BFloat16 or Float16.", nameof(options));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(options.LargestShard, 1);
        cancellationToken.ThrowIfCancellationRequested();
        SavePlan plan = SavePlan.Of(config, tensor, options);
        byte[] json = config.ToJson(plan.WeightType);
        try
        {
            using FileReplacement files = new(directory);
            SupersedeOldFiles(files, directory);
            StageWeights(files, plan, tensor, directory, progress, cancellationToken);
            files.Stage("config.json", json.Length, stream => stream.Write(json));
            foreach (string companion in companions)
            {
                byte[] content = File.ReadAllBytes(companion);
                files.Stage(Path.GetFileName(companion), content.Length, stream => stream.Write(content));
            }

            cancellationToken.ThrowIfCancellationRequested();
            files.Commit();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(
                directory, $"the checkpoint cannot be written: {e.Message.TrimEnd('.')}",
                "Nothing was replaced; make room or choose another folder", e);
        }
    }

    private static void StageWeights(
        FileReplacement files,
        SavePlan plan,
        Func<ExpectedTensor, StoredTensor> tensor,
        string directory,
        IProgress<CheckpointProgress>? progress,
        CancellationToken cancellationToken)
    {
        TensorStream source = new(plan, tensor, directory, progress, cancellationToken);
        for (int shard = 0; shard < plan.Shards.Count; shard++)
        {
            IReadOnlyList<PlannedTensor> tensors = plan.Shards[shard];
            byte[] header = SafetensorsHeaderWriter.Write(tensors);
            files.Stage(plan.FileName(shard), header.Length + tensors.Sum(planned => planned.ByteLength), stream =>
            {
                stream.Write(header);
                foreach (PlannedTensor planned in tensors)
                {
                    source.CopyTo(stream, planned);
                }
            });
        }

        if (plan.Shards.Count > 1)
        {
            byte[] index = Index(plan);
            files.Stage(WeightFiles.SafetensorsIndex, index.Length, stream => stream.Write(index));
        }
    }

    /// <summary>
    /// The safetensors of the checkpoint that is replaced, which would otherwise be read in place of the new ones, or fill the disk.
    /// </summary>
    private static void SupersedeOldFiles(FileReplacement files, string directory)
    {
        files.Remove(WeightFiles.Safetensors);
        files.Remove(WeightFiles.SafetensorsIndex);
        string oldIndex = Path.Combine(directory, WeightFiles.SafetensorsIndex);
        if (File.Exists(oldIndex))
        {
            try
            {
                foreach (string shard in ShardIndex.Read(oldIndex).Shards)
                {
                    files.Remove(shard);
                }
            }
            catch (CheckpointException)
            {
                // A damaged index is replaced like any other; only its shards are not known then, and stay.
                return;
            }
        }
    }

    private static byte[] Index(SavePlan plan)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter json = new(buffer, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata");
            json.WriteNumber("total_size", plan.TotalBytes);
            json.WriteEndObject();
            json.WriteStartObject("weight_map");
            for (int shard = 0; shard < plan.Shards.Count; shard++)
            {
                foreach (PlannedTensor tensor in plan.Shards[shard])
                {
                    json.WriteString(tensor.Name, plan.FileName(shard));
                }
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return [.. buffer.WrittenSpan, (byte)'\n'];
    }
}
