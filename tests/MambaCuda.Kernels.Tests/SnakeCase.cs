namespace MambaCuda.Kernels.Tests;

/// <summary>Names as native/ writes them.</summary>
internal static class SnakeCase
{
    /// <summary>CausalConv1dUpdate becomes causal_conv1d_update.</summary>
    public static string Of(string name) =>
        string.Concat(name.Select((letter, i) => char.IsUpper(letter) ? (i > 0 ? "_" : "") + char.ToLowerInvariant(letter) : letter.ToString()));
}
