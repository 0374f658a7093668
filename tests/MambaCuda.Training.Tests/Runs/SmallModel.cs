using MambaCuda.Kernels;

namespace MambaCuda.Training.Tests;

/// <summary>A model that takes a training step in a moment.</summary>
internal static class SmallModel
{
    public static MambaConfig Config { get; } = new()
    {
        VocabularySize = 16,
        HiddenSize = 24,
        StateSize = 4,
        LayerCount = 2,
    };

    /// <summary>All parameters, as bits.</summary>
    public static byte[] Bytes(TrainableModel model)
    {
        MatrixView values = model.Parameters.Values;
        byte[] bytes = new byte[values.Rows * values.Columns * sizeof(float)];
        model.Backend.Download<byte>(values, bytes);
        return bytes;
    }
}
