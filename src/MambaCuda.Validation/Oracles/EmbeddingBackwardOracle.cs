using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>The gradient of an embedding table: each token's row added to that of its id.</summary>
public static class EmbeddingBackwardOracle
{
    /// <summary>Adds to what the table's gradient was, (vocabulary, columns), in the order of the tokens.</summary>
    public static T[] Run<T>(int[] ids, float[] gradOutput, float[] gradWeight) where T : IFloatingPointIeee754<T>
    {
        int columns = gradOutput.Length / ids.Length;
        T[] result = Array.ConvertAll(gradWeight, T.CreateChecked);
        for (int i = 0; i < gradOutput.Length; i++)
        {
            result[(ids[i / columns] * columns) + (i % columns)] += T.CreateChecked(gradOutput[i]);
        }

        return result;
    }
}
