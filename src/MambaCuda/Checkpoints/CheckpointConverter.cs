namespace MambaCuda;

/// <summary>Rewrites a checkpoint of either public layout in the Hugging Face layout.</summary>
public static class CheckpointConverter
{
    private static readonly string[] Companions =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt", "generation_config.json"];

    /// <summary>Converts a checkpoint. Its tokenizer files, where there are some, come along.</summary>
    /// <param name="source">The folder of the checkpoint.</param>
    /// <param name="destination">
    /// The folder to write; created where it is absent. A checkpoint in it is replaced when the new one is complete.
    /// </param>
    /// <param name="options">Type and sharding; null for one file with the types as they are.</param>
    /// <param name="progress">Is told how far it has come, or null.</param>
    /// <param name="adapter">The folder of an adapter to merge into the weights, or null.</param>
    /// <param name="quantization">How to quantize the weights, an adapter merged, or null to leave them as they are.</param>
    /// <param name="cancellationToken">Ends the conversion and removes what was written.</param>
    /// <exception cref="CheckpointException">The checkpoint or the adapter cannot be read, or the new one not written.</exception>
    public static void Convert(
        string source,
        string destination,
        CheckpointSaveOptions? options = null,
        IProgress<CheckpointProgress>? progress = null,
        string? adapter = null,
        QuantizationConfig? quantization = null,
        CancellationToken cancellationToken = default)
    {
        using Checkpoint checkpoint = Checkpoint.Open(source);
        using MergedWeights? merged = Merge(checkpoint, adapter);
        IReadOnlyDictionary<string, StoredTensor> tensors = merged?.Tensors ?? checkpoint.Tensors;
        if (quantization is not null && checkpoint.Config.Quantization is { } before)
        {
            throw new CheckpointException(
                source, $"the weights are quantized already ({before}), and quantizing them again would lose more",
                "Quantize the original checkpoint");
        }

        MambaConfig config = quantization is null ? checkpoint.Config : checkpoint.Config with { Quantization = quantization };
        using QuantizedWeights? quantized = quantization is null ? null : new QuantizedWeights(config, tensors, cancellationToken);
        IEnumerable<string> companions = Companions.Select(name => Path.Combine(source, name)).Where(File.Exists);
        CheckpointWriter.Write(
            destination, config, quantized is null ? expected => tensors[expected.Name] : quantized.Get, options, companions, progress,
            cancellationToken);
    }

    private static MergedWeights? Merge(Checkpoint checkpoint, string? adapter)
    {
        if (adapter is null)
        {
            return null;
        }

        using LoraAdapter opened = LoraAdapter.Open(adapter, checkpoint.Config);
        return new MergedWeights(checkpoint.Tensors, opened);
    }
}
