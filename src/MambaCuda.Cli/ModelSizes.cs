using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>The published sizes.</summary>
internal static class ModelSizes
{
    private const int Vocabulary = 50_280;

    private static readonly Dictionary<string, (int Hidden, int Layers)> Sizes = new()
    {
        ["130m"] = (768, 24),
        ["370m"] = (1024, 48),
        ["790m"] = (1536, 48),
        ["1.4b"] = (2048, 48),
        ["2.8b"] = (2560, 64),
    };

    /// <summary>The names, smallest first; "tiny" is for trying the command out.</summary>
    public static string[] Names => [.. Sizes.Keys, "tiny"];

    /// <summary>The configuration of a size.</summary>
    public static MambaConfig Config(string name) => name == "tiny"
        ? new MambaConfig { VocabularySize = 256, HiddenSize = 64, LayerCount = 2 }
        : new MambaConfig { VocabularySize = Vocabulary, HiddenSize = Sizes[name].Hidden, LayerCount = Sizes[name].Layers };

    /// <summary>The configuration of a size, its weights quantized as a word says, "int8" or "int4"; as they are where it is another.</summary>
    public static MambaConfig Config(string name, string? quantized) => Config(name) with
    {
        Quantization = quantized switch
        {
            "int8" => new QuantizationConfig(QuantizedType.Int8, QuantizationConfig.UsualGroupSize(QuantizedType.Int8)),
            "int4" => new QuantizationConfig(QuantizedType.Int4, QuantizationConfig.UsualGroupSize(QuantizedType.Int4)),
            _ => null,
        },
    };

    /// <summary>The parameters that every token meets: all but the embedding.</summary>
    public static long ParametersATokenMeets(MambaConfig config) =>
        config.Tensors().Sum(tensor => tensor.ElementCount) - ((long)config.VocabularySize * config.HiddenSize);
}
