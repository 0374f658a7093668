using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>
/// The gradients of a causal convolution's results: of y, (tokens, channels), and of the state after each sequence, (slots * (width - 1),
/// channels); null for zeros.
/// </summary>
public sealed record CausalConv1dUpstream(float[] GradY, float[]? GradFinalState)
{
    /// <summary>A second gradient of y, which is added to the first; or null.</summary>
    public float[]? MoreGradY { get; init; }

    /// <summary>Both gradients of an element of y together.</summary>
    public T WholeGradY<T>(int index)
        where T : IFloatingPointIeee754<T> =>
        T.CreateChecked(GradY[index]) + (MoreGradY is null ? T.Zero : T.CreateChecked(MoreGradY[index]));

    /// <summary>The same without signs; see <see cref="CausalConv1dInputs.Magnitudes"/>.</summary>
    public CausalConv1dUpstream Magnitudes() => new([.. GradY.Select(MathF.Abs)], GradFinalState?.Select(MathF.Abs).ToArray())
    {
        MoreGradY = MoreGradY?.Select(MathF.Abs).ToArray(),
    };

    /// <summary>The same with what a backend may hold in 16 bits rounded to what it holds.</summary>
    public CausalConv1dUpstream RoundActivations(Func<float[], float[]> round) =>
        this with { GradY = round(GradY), MoreGradY = MoreGradY is null ? null : round(MoreGradY) };
}
