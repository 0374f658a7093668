using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>What one block reads and writes besides its weights; activations of one chunk of tokens.</summary>
internal readonly record struct BlockOperands
{
    /// <summary>Which tokens belong together, and the slot of each sequence's state.</summary>
    public required SequenceLayout Sequences { get; init; }

    /// <summary>What the block reads: the normalised residual, (tokens, hidden size).</summary>
    public required MatrixView Normalized { get; init; }

    /// <summary>x, then z, of the in-projection, (tokens, 2 * intermediate size).</summary>
    public required MatrixView InProjected { get; init; }

    /// <summary>After the convolution, (tokens, intermediate size).</summary>
    public required MatrixView Inner { get; init; }

    /// <summary>Low-rank delta, B and C, (tokens, time step rank + 2 * state size).</summary>
    public required MatrixView ScanInputs { get; init; }

    /// <summary>(tokens, intermediate size).</summary>
    public required MatrixView Delta { get; init; }

    /// <summary>After the scan and the gate, (tokens, intermediate size); may be the memory of Inner.</summary>
    public required MatrixView Gated { get; init; }

    /// <summary>What the block adds to the residual, (tokens, hidden size).</summary>
    public required MatrixView BlockOutput { get; init; }

    /// <summary>The convolution's state before each sequence, see <see cref="LayerStates"/>; or none for zeros.</summary>
    public MatrixView ConvolutionBefore { get; init; }

    /// <summary>Where to leave it after each sequence; may be the same view; or none.</summary>
    public MatrixView ConvolutionAfter { get; init; }

    /// <summary>The scan's state before each sequence, or none for zeros.</summary>
    public MatrixView ScanBefore { get; init; }

    /// <summary>Where to leave it after each sequence; may be the same view; or none.</summary>
    public MatrixView ScanAfter { get; init; }

    /// <summary>Where the scan leaves its checkpoints, see <see cref="SelectiveScanForwardArgs.Checkpoints"/>; or none.</summary>
    public MatrixView Checkpoints { get; init; }

    /// <summary>Where the projections' low-rank updates are computed; of no use to a layer without.</summary>
    public AdapterOperands Adapters { get; init; }

    /// <summary>Some of the tokens, as convolution and scan see them: by sequences and from states of their own.</summary>
    /// <param name="first">The first of them.</param>
    /// <param name="sequences">Which of them belong together; as many as it says.</param>
    /// <param name="layer">The number of the layer.</param>
    /// <param name="before">The states that the sequences go on from.</param>
    /// <param name="after">Where to leave them.</param>
    public BlockOperands Part(long first, SequenceLayout sequences, int layer, MambaState before, MambaState after) => this with
    {
        Sequences = sequences,
        InProjected = InProjected.RowRange(first, sequences.TotalLength),
        Inner = Inner.RowRange(first, sequences.TotalLength),
        ScanInputs = ScanInputs.RowRange(first, sequences.TotalLength),
        Delta = Delta.RowRange(first, sequences.TotalLength),
        Gated = Gated.RowRange(first, sequences.TotalLength),
        ConvolutionBefore = before.Convolution(layer),
        ConvolutionAfter = after.Convolution(layer),
        ScanBefore = before.Scan(layer),
        ScanAfter = after.Scan(layer),
    };
}
