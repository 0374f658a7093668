using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>What the updates of all projections are computed with.</summary>
/// <param name="Scale">The scale on the diagonal of a (rank, rank) matrix, Float32; none where it is 1.</param>
/// <param name="Unscaled">Room for (tokens, rank), activation type; none where the scale is 1.</param>
/// <param name="Scaled">Room for (tokens, rank), activation type.</param>
internal readonly record struct AdapterOperands(MatrixView Scale, MatrixView Unscaled, MatrixView Scaled)
{
    /// <summary>scale wide factor^T, (tokens, rank), which stays until the next.</summary>
    public MatrixView Narrow(MatrixView wide, MatrixView factor, Backend backend)
    {
        backend.LinearForward(new LinearForwardArgs { X = wide, Weight = factor, Y = Scale.IsNone ? Scaled : Unscaled });
        if (!Scale.IsNone)
        {
            // By the linear layer that there is: among so few columns a product costs no more than an operation of its own would.
            backend.LinearForward(new LinearForwardArgs { X = Unscaled, Weight = Scale, Y = Scaled });
        }

        return Scaled;
    }
}
