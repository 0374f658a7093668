namespace MambaCuda.Kernels;

/// <summary>What is said of logits from which no token can be chosen, by every backend.</summary>
internal static class LogitFault
{
    public static string NotFinite(long row, long token) =>
        $"The logit of token {token} in row {row} is NaN or infinite: the model's weights or its state are damaged.";

    public static string NoToken(long row) => $"All logits of row {row} are minus infinity: no token can be chosen.";
}
