using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The weights of one block as kernels read them. Projections are as stored, (outputs, inputs), floats or quantized; everything that belongs to
/// a channel is Float32 with the channel innermost.
/// </summary>
internal sealed record LayerWeights
{
    /// <summary>(1, hidden size).</summary>
    public required MatrixView Norm { get; init; }

    /// <summary>(2 * intermediate size, hidden size): x, then z.</summary>
    public required WeightView InProjection { get; init; }

    /// <summary>(1, 2 * intermediate size), or none.</summary>
    public required MatrixView InProjectionBias { get; init; }

    /// <summary>(conv kernel, intermediate size).</summary>
    public required MatrixView Convolution { get; init; }

    /// <summary>(1, intermediate size), or none.</summary>
    public required MatrixView ConvolutionBias { get; init; }

    /// <summary>(time step rank + 2 * state size, intermediate size): delta, B, C.</summary>
    public required WeightView ScanProjection { get; init; }

    /// <summary>(intermediate size, time step rank).</summary>
    public required WeightView TimeStepProjection { get; init; }

    /// <summary>(1, intermediate size).</summary>
    public required MatrixView TimeStepBias { get; init; }

    /// <summary>A = -exp(A_log), (state size, intermediate size).</summary>
    public required MatrixView A { get; init; }

    /// <summary>(1, intermediate size).</summary>
    public required MatrixView D { get; init; }

    /// <summary>(hidden size, intermediate size).</summary>
    public required WeightView OutProjection { get; init; }

    /// <summary>(1, hidden size), or none.</summary>
    public required MatrixView OutProjectionBias { get; init; }

    /// <summary>The low-rank updates of the projections.</summary>
    public LayerAdapters Adapters { get; init; } = LayerAdapters.None;

    /// <summary>Finds the views of one layer by the names of its tensors.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="layer">Which layer.</param>
    /// <param name="projection">Gives the matrices that activations are multiplied with.</param>
    /// <param name="small">Gives everything else, the channel innermost.</param>
    /// <param name="a">A, which no tensor holds.</param>
    public static LayerWeights Of(
        MambaConfig config, int layer, Func<string, WeightView> projection, Func<string, MatrixView> small, MatrixView a) => new()
        {
            Norm = small(TensorNames.Norm(layer)),
            InProjection = projection(TensorNames.InProjection(layer)),
            InProjectionBias = config.UseBias ? small(TensorNames.InProjectionBias(layer)) : default,
            Convolution = small(TensorNames.Convolution(layer)),
            ConvolutionBias = config.UseConvBias ? small(TensorNames.ConvolutionBias(layer)) : default,
            ScanProjection = projection(TensorNames.ScanProjection(layer)),
            TimeStepProjection = projection(TensorNames.TimeStepProjection(layer)),
            TimeStepBias = small(TensorNames.TimeStepBias(layer)),
            A = a,
            D = small(TensorNames.Skip(layer)),
            OutProjection = projection(TensorNames.OutProjection(layer)),
            OutProjectionBias = config.UseBias ? small(TensorNames.OutProjectionBias(layer)) : default,
        };
}
