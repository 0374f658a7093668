namespace MambaCuda;

/// <summary>The names under which the weights of a checkpoint may lie in its folder, in order of preference.</summary>
internal static class WeightFiles
{
    public const string Safetensors = "model.safetensors";
    public const string SafetensorsIndex = "model.safetensors.index.json";

    private static readonly (string Name, Func<string, TensorFile> Open)[] Known =
    [
        (Safetensors, SafetensorsFile.Open),
        (SafetensorsIndex, ShardedFile.OpenSafetensors),
        ("pytorch_model.bin", PyTorchFile.Open),
        ("pytorch_model.bin.index.json", ShardedFile.OpenPyTorch),
    ];

    public static TensorFile Open(string directory)
    {
        foreach ((string name, Func<string, TensorFile> open) in Known)
        {
            string path = Path.Combine(directory, name);
            if (File.Exists(path))
            {
                return open(path);
            }
        }

        throw new CheckpointException(
            directory, $"the folder holds no weights: none of {string.Join(", ", Known.Select(entry => entry.Name))}",
            "Download the weight files of the checkpoint as well as config.json");
    }
}
