namespace MambaCuda.Kernels;

/// <summary>
/// One way to compute one linear layer, as <see cref="CudaBackend.LinearVariants"/> lists them and
/// <see cref="CudaBackend.LinearForward(in LinearForwardArgs, LinearVariant)"/> takes them.
/// </summary>
public readonly record struct LinearVariant
{
    internal LinearVariant(LinearAlgorithm algorithm, LinearTile tile = default, int splits = 1)
    {
        Algorithm = algorithm;
        Tile = tile;
        Splits = splits;
    }

    /// <summary>The algorithm.</summary>
    public LinearAlgorithm Algorithm { get; }

    /// <summary>How many blocks share the inputs of a tile.</summary>
    public int Splits { get; }

    /// <summary>The tile, of the algorithms that have one; with <see cref="LinearAlgorithm.Vector"/>, whether by tensor cores.</summary>
    internal LinearTile Tile { get; }

    /// <summary>As in "tensor-core wgmma 128x256" or "vector".</summary>
    public override string ToString() => Algorithm switch
    {
        LinearAlgorithm.CublasLt => "cublaslt",
        LinearAlgorithm.Row => "row",
        LinearAlgorithm.Dequantized => "dequantized",
        LinearAlgorithm.Vector => Tile.Kind == LinearTileKind.Simt ? "vector" : "vector mma",
        _ => Tile + (Splits == 1 ? "" : $" / {Splits}"),
    };
}
