using System.Text.Json.Serialization;

namespace MambaCuda.Training;

/// <summary>What the learning rate does after its warm-up.</summary>
public enum LearningRateShape
{
    /// <summary>It stays at its peak.</summary>
    [JsonStringEnumMemberName("constant")]
    Constant,

    /// <summary>It falls to the floor by half a cosine over all steps that are left (Loshchilov and Hutter, 2017).</summary>
    [JsonStringEnumMemberName("cosine")]
    Cosine,

    /// <summary>It stays, then falls to the floor in a straight line (WSD: Hu et al., "MiniCPM", 2024).</summary>
    [JsonStringEnumMemberName("stable-linear")]
    StableLinear,

    /// <summary>
    /// It stays, then falls to the floor by 1 - sqrt (Hägele et al., "Scaling laws ... beyond fixed training durations", 2024).
    /// </summary>
    [JsonStringEnumMemberName("stable-sqrt")]
    StableSquareRoot,
}
