using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The weights of one block as kernels read them. Projections are as stored, (outputs, inputs); everything that belongs to a channel is
/// Float32 with the channel innermost.
/// </summary>
internal sealed class LayerWeights
{
    /// <summary>(1, hidden size).</summary>
    public required MatrixView Norm { get; init; }

    /// <summary>(2 * intermediate size, hidden size): x, then z.</summary>
    public required MatrixView InProjection { get; init; }

    /// <summary>(1, 2 * intermediate size), or none.</summary>
    public required MatrixView InProjectionBias { get; init; }

    /// <summary>(conv kernel, intermediate size).</summary>
    public required MatrixView Convolution { get; init; }

    /// <summary>(1, intermediate size), or none.</summary>
    public required MatrixView ConvolutionBias { get; init; }

    /// <summary>(time step rank + 2 * state size, intermediate size): delta, B, C.</summary>
    public required MatrixView ScanProjection { get; init; }

    /// <summary>(intermediate size, time step rank).</summary>
    public required MatrixView TimeStepProjection { get; init; }

    /// <summary>(1, intermediate size).</summary>
    public required MatrixView TimeStepBias { get; init; }

    /// <summary>A = -exp(A_log), (state size, intermediate size).</summary>
    public required MatrixView A { get; init; }

    /// <summary>(1, intermediate size).</summary>
    public required MatrixView D { get; init; }

    /// <summary>(hidden size, intermediate size).</summary>
    public required MatrixView OutProjection { get; init; }

    /// <summary>(1, hidden size), or none.</summary>
    public required MatrixView OutProjectionBias { get; init; }
}
