namespace MambaCuda;

/// <summary>Tensors in several files of one format, of which an index says which holds what. Each shard must hold just that.</summary>
public sealed class ShardedFile : TensorFile
{
    private const int MostNamed = 5;

    private readonly List<TensorFile> _shards = [];
    private readonly Dictionary<string, StoredTensor> _tensors = [];

    private ShardedFile(string path) : base(path)
    {
    }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    /// <summary>The shards.</summary>
    public IReadOnlyList<TensorFile> Shards => _shards;

    /// <summary>Opens the safetensors shards of an index.</summary>
    /// <param name="indexPath">The index; the shards lie in the same folder.</param>
    /// <exception cref="CheckpointException">The index or a shard is damaged, or they contradict each other.</exception>
    public static ShardedFile OpenSafetensors(string indexPath) => Open(indexPath, SafetensorsFile.Open);

    /// <summary>Opens the PyTorch shards of an index.</summary>
    /// <param name="indexPath">The index; the shards lie in the same folder.</param>
    /// <exception cref="CheckpointException">The index or a shard is damaged, or they contradict each other.</exception>
    public static ShardedFile OpenPyTorch(string indexPath) => Open(indexPath, PyTorchFile.Open);

    private static ShardedFile Open(string indexPath, Func<string, TensorFile> open)
    {
        ShardIndex index = ShardIndex.Read(indexPath);
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(indexPath))!;
        ShardedFile file = new(indexPath);
        try
        {
            foreach (string name in index.Shards.Order(StringComparer.Ordinal))
            {
                file.Add(index, name, System.IO.Path.Combine(folder, name), open);
            }

            file.CheckComplete(index);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _shards.ForEach(shard => shard.Dispose());

    private void Add(ShardIndex index, string name, string path, Func<string, TensorFile> open)
    {
        if (!File.Exists(path))
        {
            throw index.Refused($"names the shard {name.Quoted()}, which is not there");
        }

        TensorFile shard = open(path);
        _shards.Add(shard);
        string[] strangers = [.. shard.Tensors.Keys.Where(tensor => index.ShardOf.GetValueOrDefault(tensor) != name).Take(MostNamed)];
        if (strangers.Length > 0)
        {
            throw index.Refused($"{name.Quoted()} holds tensors that the index does not place there: {Names(strangers)}");
        }

        foreach (StoredTensor tensor in shard.Tensors.Values)
        {
            _tensors.Add(tensor.Name, tensor);
        }
    }

    private void CheckComplete(ShardIndex index)
    {
        string[] missing = [.. index.ShardOf.Keys.Where(tensor => !_tensors.ContainsKey(tensor)).Take(MostNamed)];
        if (missing.Length > 0)
        {
            throw index.Refused($"places tensors into shards that do not hold them: {Names(missing)}");
        }

        // Writers differ in whether a storage that two tensors share counts once.
        double all = _tensors.Values.Sum(tensor => (double)tensor.ByteLength);
        double distinct = _tensors.Values.DistinctBy(tensor => (tensor.Memory, tensor.ByteOffset)).Sum(tensor => (double)tensor.ByteLength);
        if (index.TotalSize is { } total && total != all && total != distinct)
        {
            throw index.Refused($"says that all tensors have {total:F0} bytes, but the shards hold {all:F0}");
        }
    }

    private static string Names(string[] names) => string.Join(", ", names.Select(name => name.Quoted()));
}
