namespace MambaCuda.Tests;

/// <summary>A model small enough to run at every test, with sizes that no vector width divides.</summary>
internal static class TinyModel
{
    public static MambaConfig Config { get; } = new()
    {
        VocabularySize = 101,
        HiddenSize = 36,
        IntermediateSize = 70,
        StateSize = 5,
        LayerCount = 2,
        InitializerRange = 0.5,
        TimeStepRank = 3,
    };

    public static int[] RandomIds(int count, int seed)
    {
        Random random = new(seed);
        int[] ids = new int[count];
        for (int i = 0; i < count; i++)
        {
            ids[i] = random.Next(Config.VocabularySize);
        }

        return ids;
    }
}
