using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>How a checkpoint is written.</summary>
public sealed record CheckpointSaveOptions
{
    /// <summary>The type of all weights that are not quantized; null leaves each as it is.</summary>
    public DataType? WeightType { get; init; }

    /// <summary>
    /// The most bytes of tensors in one file. Where the model has more, it is cut into shards with an index; a tensor that is larger
    /// alone gets a shard of its own.
    /// </summary>
    public long LargestShard { get; init; } = long.MaxValue;
}

/// <summary>How far the writing of a checkpoint has come.</summary>
/// <param name="BytesDone">The bytes of tensors written so far.</param>
/// <param name="BytesTotal">The bytes of all tensors.</param>
/// <param name="Tensor">The tensor that is being written.</param>
public readonly record struct CheckpointProgress(long BytesDone, long BytesTotal, string Tensor);
