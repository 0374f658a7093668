namespace MambaCuda;

/// <summary>
/// A folder that holds a Mamba model in either public layout: its configuration, and its weights mapped into memory and checked
/// against it. Tensors have their Hugging Face names (<see cref="TensorNames"/>). Disposing unmaps the weights.
/// </summary>
public sealed class Checkpoint : IDisposable
{
    private const int MostProblemsShown = 20;

    private readonly TensorFile _file;
    private readonly Dictionary<string, StoredTensor> _tensors;

    private Checkpoint(string directory, MambaConfig config, TensorFile file, Dictionary<string, StoredTensor> tensors)
    {
        Directory = directory;
        Config = config;
        _file = file;
        _tensors = tensors;
    }

    /// <summary>The folder.</summary>
    public string Directory { get; }

    /// <summary>The configuration.</summary>
    public MambaConfig Config { get; }

    /// <summary>The file with the weights, or with the list of files that hold them.</summary>
    public string WeightsPath => _file.Path;

    /// <summary>The tensors by canonical name: just those that <see cref="MambaConfig.StoredTensors"/> lists.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    /// <summary>A tensor by canonical name.</summary>
    /// <exception cref="KeyNotFoundException">The configuration implies no such tensor.</exception>
    public StoredTensor this[string name] => _tensors[name];

    /// <summary>
    /// Opens a folder with config.json and, in this order of preference, model.safetensors, model.safetensors.index.json,
    /// pytorch_model.bin or pytorch_model.bin.index.json.
    /// </summary>
    /// <exception cref="CheckpointException">
    /// A file is missing or damaged, the configuration is not one of Mamba, or the tensors are not those that it implies; then the
    /// message names all that are missing, superfluous, mis-shaped or of a type that weights cannot have.
    /// </exception>
    public static Checkpoint Open(string directory)
    {
        if (!System.IO.Directory.Exists(directory))
        {
            throw new CheckpointException(directory, "there is no such folder");
        }

        string configPath = Path.Combine(directory, "config.json");
        if (!File.Exists(configPath))
        {
            throw new CheckpointException(directory, "the folder holds no config.json", "Point to the folder of a checkpoint");
        }

        MambaConfig config = MambaConfig.Load(configPath);
        TensorFile file = WeightFiles.Open(directory);
        try
        {
            return new Checkpoint(directory, config, file, Match(config, file));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Unmaps the weights.</summary>
    public void Dispose() => _file.Dispose();

    private static Dictionary<string, StoredTensor> Match(MambaConfig config, TensorFile file)
    {
        List<string> problems = [];
        Dictionary<string, StoredTensor> found = [];
        foreach (StoredTensor tensor in file.Tensors.Values)
        {
            string name = TensorNames.Canonical(tensor.Name);
            if (!found.TryAdd(name, name == tensor.Name ? tensor : tensor.Renamed(name)))
            {
                problems.Add($"{tensor.Name.Quoted()} is there under both its names");
            }
        }

        Dictionary<string, StoredTensor> matched = [];
        foreach (ExpectedTensor expected in config.StoredTensors())
        {
            if (!found.Remove(expected.Name, out StoredTensor? tensor))
            {
                problems.Add($"{expected} is missing");
            }
            else if (!tensor.Shape.SequenceEqual(expected.Shape))
            {
                string expectedShape = StoredTensor.ShapeText(expected.Shape);
                problems.Add($"{expected.Name.Quoted()} is {StoredTensor.ShapeText(tensor.Shape)}, expected {expectedShape}");
            }
            else if (!expected.Takes(tensor.Type))
            {
                string types = expected.Type is { } only ? $"must be {only}" : "weights are Float32, BFloat16 or Float16";
                problems.Add($"{expected.Name.Quoted()} is {tensor.Type}, but {types}");
            }
            else
            {
                matched.Add(expected.Name, tensor);
            }
        }

        if (config.TieEmbeddings && found.Remove(TensorNames.Head, out StoredTensor? head))
        {
            CheckTiedHead(head, matched.GetValueOrDefault(TensorNames.Embedding), problems);
        }

        problems.AddRange(found.Values.Select(tensor => $"{tensor} is not part of the model"));
        if (problems.Count > 0)
        {
            string rest = problems.Count > MostProblemsShown ? $"; and {problems.Count - MostProblemsShown} more" : "";
            throw new CheckpointException(
                file.Path,
                $"the tensors are not those of config.json: {string.Join("; ", problems.Take(MostProblemsShown))}{rest}",
                "Check that the configuration and the weights belong together");
        }

        return matched;
    }

    /// <summary>
    /// The original layout stores the tied head again, as the same storage; others as a copy. Where it differs from the embedding, the
    /// configuration contradicts the weights, and either choice would silently compute something else than was trained.
    /// </summary>
    private static void CheckTiedHead(StoredTensor head, StoredTensor? embedding, List<string> problems)
    {
        if (embedding is not null
            && (head.Type != embedding.Type || !head.Shape.SequenceEqual(embedding.Shape) || !head.HasSameBytesAs(embedding)))
        {
            problems.Add($"{head} differs from {embedding}, although the configuration says that they are one (tie_word_embeddings)");
        }
    }
}
