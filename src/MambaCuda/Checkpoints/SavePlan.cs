using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>A tensor that will be written, and the type that it will have.</summary>
internal sealed record PlannedTensor(ExpectedTensor Expected, DataType Type)
{
    public string Name => Expected.Name;

    public long ByteLength => Expected.ElementCount * Type.Size();
}

/// <summary>Which tensors go into which file, and as what.</summary>
internal sealed class SavePlan
{
    private SavePlan(IReadOnlyList<IReadOnlyList<PlannedTensor>> shards, IReadOnlyDictionary<string, StoredTensor> known)
    {
        Shards = shards;
        Known = known;
        TotalBytes = shards.Sum(shard => shard.Sum(tensor => tensor.ByteLength));
        WeightType = shards[0].First(tensor => tensor.Name == TensorNames.Embedding).Type;
    }

    /// <summary>The tensors of each file in the order of their data.</summary>
    public IReadOnlyList<IReadOnlyList<PlannedTensor>> Shards { get; }

    /// <summary>The tensors that had to be asked for to know their types.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Known { get; }

    /// <summary>The bytes of all tensors.</summary>
    public long TotalBytes { get; }

    /// <summary>The type that the configuration names: that of the embedding.</summary>
    public DataType WeightType { get; }

    public static SavePlan Of(MambaConfig config, Func<ExpectedTensor, StoredTensor> tensor, CheckpointSaveOptions options)
    {
        Dictionary<string, StoredTensor> known = [];
        List<List<PlannedTensor>> shards = [[]];
        long filled = 0;
        foreach (ExpectedTensor expected in config.StoredTensors())
        {
            DataType type = expected.Type ?? options.WeightType ?? (known[expected.Name] = tensor(expected)).Type;
            PlannedTensor planned = new(expected, type);
            if (filled > 0 && planned.ByteLength > options.LargestShard - filled)
            {
                shards.Add([]);
                filled = 0;
            }

            shards[^1].Add(planned);
            filled += planned.ByteLength;
        }

        return new SavePlan([.. shards.Select(shard => shard.OrderByDescending(planned => planned.Type.Size()).ToList())], known);
    }

    /// <summary>The name of a file, counted from 0.</summary>
    public string FileName(int shard) => Shards.Count == 1
        ? WeightFiles.Safetensors
        : string.Create(CultureInfo.InvariantCulture, $"model-{shard + 1:D5}-of-{Shards.Count:D5}.safetensors");
}
