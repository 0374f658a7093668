using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>The low-rank updates of one layer's projections; those that it has not are none.</summary>
internal sealed class LayerAdapters
{
    /// <summary>No update at all.</summary>
    public static LayerAdapters None { get; } = new();

    public ProjectionAdapter InProjection { get; private init; }

    public ProjectionAdapter ScanProjection { get; private init; }

    public ProjectionAdapter TimeStepProjection { get; private init; }

    public ProjectionAdapter OutProjection { get; private init; }

    /// <summary>Finds the updates of one layer by the names of their tensors.</summary>
    /// <param name="layer">Which layer.</param>
    /// <param name="factor">Gives a factor, none where there is none of that name.</param>
    public static LayerAdapters Of(int layer, Func<string, MatrixView> factor)
    {
        return new LayerAdapters
        {
            InProjection = Named("in_proj"),
            ScanProjection = Named("x_proj"),
            TimeStepProjection = Named("dt_proj"),
            OutProjection = Named("out_proj"),
        };

        ProjectionAdapter Named(string name) => new(factor(TensorNames.LoraA(layer, name)), factor(TensorNames.LoraB(layer, name)));
    }
}
