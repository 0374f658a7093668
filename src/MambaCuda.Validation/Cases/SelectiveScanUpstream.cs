namespace MambaCuda.Validation;

/// <summary>
/// The gradients of a selective scan's results: of y, (tokens, channels), and of the state after each sequence, (slots * state size,
/// channels); null for zeros.
/// </summary>
public sealed record SelectiveScanUpstream(float[] GradY, float[]? GradFinalState)
{
    /// <summary>The same without signs; see <see cref="SelectiveScanInputs.Magnitudes"/>.</summary>
    public SelectiveScanUpstream Magnitudes() =>
        new([.. GradY.Select(MathF.Abs)], GradFinalState?.Select(MathF.Abs).ToArray());

    /// <summary>The same with what a backend may hold in 16 bits rounded to what it holds.</summary>
    public SelectiveScanUpstream RoundActivations(Func<float[], float[]> round) => this with { GradY = round(GradY) };
}
