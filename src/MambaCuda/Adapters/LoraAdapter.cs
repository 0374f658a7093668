using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A low-rank update of a model's projections as PEFT stores it: a folder with adapter_config.json and adapter_model.safetensors, which is
/// mapped into memory. Disposing unmaps it.
/// </summary>
public sealed class LoraAdapter : IDisposable
{
    /// <summary>The file of the settings; a folder that has it holds an adapter.</summary>
    public const string ConfigFileName = LoraConfigFile.Name;

    private const string WeightsFileName = "adapter_model.safetensors";
    private const int MostProblemsShown = 20;

    private readonly SafetensorsFile _file;

    private LoraAdapter(LoraSettings settings, MambaConfig config, SafetensorsFile file) =>
        (Settings, Config, _file) = (settings, config, file);

    /// <summary>Rank, scale and projections.</summary>
    public LoraSettings Settings { get; }

    /// <summary>The configuration of the model that it fits.</summary>
    public MambaConfig Config { get; }

    /// <summary>The tensors by PEFT's names: just those that <see cref="LoraSettings.Tensors"/> lists.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors => _file.Tensors;

    /// <summary>Opens the adapter of a model.</summary>
    /// <param name="directory">Its folder.</param>
    /// <param name="config">The model's configuration.</param>
    /// <exception cref="CheckpointException">
    /// A file is missing or damaged, the settings ask for what is not supported, or the tensors are not those of an adapter of this model;
    /// then the message names those that are missing, superfluous or mis-shaped.
    /// </exception>
    public static LoraAdapter Open(string directory, MambaConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        string settingsPath = Path.Combine(directory, ConfigFileName);
        if (!File.Exists(settingsPath))
        {
            throw new CheckpointException(directory, $"the folder holds no {ConfigFileName}", "Point to the folder of an adapter");
        }

        LoraSettings settings = LoraConfigFile.Load(settingsPath);
        SafetensorsFile file = SafetensorsFile.Open(Path.Combine(directory, WeightsFileName));
        try
        {
            Check(settings, config, file);
            return new LoraAdapter(settings, config, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Writes an adapter, which takes its files' names when all of it is on the disk.</summary>
    /// <param name="directory">The folder; created where it is absent. An adapter in it is replaced.</param>
    /// <param name="settings">Rank, scale and projections.</param>
    /// <param name="config">The configuration of the model that it fits.</param>
    /// <param name="tensor">Gives each tensor, Float32; its memory must stay until the next is asked for.</param>
    /// <exception cref="CheckpointException">The files cannot be written.</exception>
    public static void Save(string directory, LoraSettings settings, MambaConfig config, Func<ExpectedTensor, StoredTensor> tensor)
    {
        ArgumentNullException.ThrowIfNull(settings);
        ArgumentNullException.ThrowIfNull(tensor);
        settings.Validate();
        PlannedTensor[] tensors = [.. settings.Tensors(config).Select(expected => new PlannedTensor(expected, DataType.Float32))];
        byte[] header = SafetensorsHeaderWriter.Write(tensors), json = LoraConfigFile.Write(settings);
        try
        {
            using FileReplacement files = new(directory);
            files.Stage(WeightsFileName, header.Length + tensors.Sum(planned => planned.ByteLength), stream =>
            {
                stream.Write(header);
                foreach (PlannedTensor planned in tensors)
                {
                    StoredTensor given = tensor(planned.Expected);
                    stream.Write(given.Memory.Span(given.ByteOffset, checked((int)planned.ByteLength)));
                }
            });
            files.Stage(ConfigFileName, json.Length, stream => stream.Write(json));
            files.Commit();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(
                directory, $"the adapter cannot be written: {exception.Message.TrimEnd('.')}",
                "Nothing was replaced; make room or choose another folder", exception);
        }
    }

    /// <summary>Unmaps the tensors.</summary>
    public void Dispose() => _file.Dispose();

    private static void Check(LoraSettings settings, MambaConfig config, SafetensorsFile file)
    {
        List<string> problems = [];
        HashSet<string> known = [];
        foreach (ExpectedTensor expected in settings.Tensors(config))
        {
            known.Add(expected.Name);
            if (!file.Tensors.TryGetValue(expected.Name, out StoredTensor? tensor))
            {
                problems.Add($"{expected} is missing");
            }
            else if (!tensor.Shape.SequenceEqual(expected.Shape))
            {
                string shape = StoredTensor.ShapeText(tensor.Shape);
                problems.Add($"{expected.Name.Quoted()} is {shape}, expected {StoredTensor.ShapeText(expected.Shape)}");
            }
            else if (!tensor.Type.IsWeightType())
            {
                problems.Add($"{expected.Name.Quoted()} is {tensor.Type}, but weights are Float32, BFloat16 or Float16");
            }
        }

        problems.AddRange(file.Tensors.Values.Where(tensor => !known.Contains(tensor.Name)).Select(tensor => $"{tensor} is not part of it"));
        if (problems.Count > 0)
        {
            string rest = problems.Count > MostProblemsShown ? $"; and {problems.Count - MostProblemsShown} more" : "";
            throw new CheckpointException(
                file.Path,
                $"this is no adapter ({settings}) of the model: {string.Join("; ", problems.Take(MostProblemsShown))}{rest}",
                $"Check that {ConfigFileName}, the weights and the model belong together");
        }
    }
}
