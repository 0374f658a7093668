using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The ranges of a configuration's values. The upper ends lie far above every model that exists; they keep a hostile file from
/// making anyone multiply sizes until something overflows or allocate what no machine has.
/// </summary>
internal static class ConfigLimits
{
    public const int Vocabulary = 1 << 24;
    public const int Hidden = 1 << 16;
    public const int Intermediate = 1 << 18;
    public const int Layers = 4096;
    public const int State = 1024;
    public const int LeastKernel = 2;
    public const int MostKernel = 4;
    public const int Rank = 1 << 16;

    public static void Check(MambaConfig config, string source)
    {
        Range("vocabulary size", config.VocabularySize, 1, Vocabulary);
        Range("hidden size", config.HiddenSize, 1, Hidden);
        Range("number of layers", config.LayerCount, 1, Layers);
        Range("intermediate size", config.IntermediateSize, 1, Intermediate);
        Range("state size", config.StateSize, 1, State);
        Range("convolution kernel", config.ConvKernel, LeastKernel, MostKernel);
        Range("time step rank", config.TimeStepRank, 1, Rank);
        Range("norm epsilon", config.NormEpsilon, float.Epsilon, 1);
        Range("initializer range", config.InitializerRange, 0, 1e6);
        Range("least time step", config.TimeStepMin, double.Epsilon, 1e6);
        Range("greatest time step", config.TimeStepMax, config.TimeStepMin, 1e6);
        Range("time step floor", config.TimeStepFloor, 0, 1e6);
        Range("time step scale", config.TimeStepScale, 0, 1e6);
        Range("time step initialization", (int)config.TimeStepInitialization, 0, 1);
        if (config.Quantization is { } quantization && !QuantizedLayout.GroupSizesOf(quantization.Type).Contains(quantization.GroupSize))
        {
            string sizes = string.Join(" or ", QuantizedLayout.GroupSizesOf(quantization.Type));
            throw new CheckpointException(source, $"the quantization is {quantization}, but groups of {quantization.Type} have {sizes} weights");
        }

        foreach (int? token in config.EosTokenIds.Select(id => (int?)id).Append(config.BosTokenId).Append(config.PadTokenId))
        {
            Range("special token id", token ?? 0, 0, config.VocabularySize - 1);
        }

        void Range(string name, double value, double least, double most)
        {
            if (!(value >= least && value <= most))
            {
                throw new CheckpointException(
                    source, string.Create(CultureInfo.InvariantCulture, $"the {name} is {value}, but must be from {least} to {most}"));
            }
        }
    }
}
