namespace MambaCuda.Kernels;

/// <summary>
/// What <see cref="Backend.PrepareDecodeStep"/> reads and writes of one layer. All views lie where they are as long as the step is used.
/// </summary>
public readonly struct DecodeStepLayer
{
    /// <summary>Of the norm before the block, (1, width), Float32.</summary>
    public MatrixView NormWeight { get; init; }

    /// <summary>Gives x, then z, (2 channels, width).</summary>
    public WeightView InProjection { get; init; }

    /// <summary>The convolution's kernel, (conv width, channels), Float32.</summary>
    public MatrixView ConvolutionWeight { get; init; }

    /// <summary>Its bias, (1, channels), Float32; or none.</summary>
    public MatrixView ConvolutionBias { get; init; }

    /// <summary>Gives low-rank delta, B and C, (rank + 2 states, channels).</summary>
    public WeightView ScanProjection { get; init; }

    /// <summary>Gives delta of the low-rank one, (channels, rank).</summary>
    public WeightView TimeStepProjection { get; init; }

    /// <summary>Added to delta before softplus, (1, channels), Float32.</summary>
    public MatrixView TimeStepBias { get; init; }

    /// <summary>A, (states, channels), Float32.</summary>
    public MatrixView A { get; init; }

    /// <summary>D, (1, channels), Float32.</summary>
    public MatrixView D { get; init; }

    /// <summary>Gives what is added to the residual stream, (width, channels).</summary>
    public WeightView OutProjection { get; init; }

    /// <summary>The convolution's state before, (slots * (conv width - 1), channels), Float32.</summary>
    public MatrixView ConvolutionBefore { get; init; }

    /// <summary>Its state after; may be the same view.</summary>
    public MatrixView ConvolutionAfter { get; init; }

    /// <summary>The scan's state before, (slots * states, channels), Float32.</summary>
    public MatrixView ScanBefore { get; init; }

    /// <summary>Its state after; may be the same view.</summary>
    public MatrixView ScanAfter { get; init; }
}

/// <summary>Operands of <see cref="Backend.PrepareDecodeStep"/>.</summary>
public readonly struct DecodeStepArgs
{
    /// <summary>One token each, and the slot of each sequence's states.</summary>
    public SequenceLayout Sequences { get; init; }

    /// <summary>The tokens, (rows, 1), Int32; read when the step runs.</summary>
    public MatrixView TokenIds { get; init; }

    /// <summary>(vocabulary, width).</summary>
    public MatrixView Embedding { get; init; }

    /// <summary>The layers in their order.</summary>
    public IReadOnlyList<DecodeStepLayer> Layers { get; init; }

    /// <summary>Of the norm behind the last layer, (1, width), Float32.</summary>
    public MatrixView FinalNormWeight { get; init; }

    /// <summary>Added to the mean square of every norm.</summary>
    public float Epsilon { get; init; }

    /// <summary>(vocabulary, width).</summary>
    public WeightView Head { get; init; }

    /// <summary>Result, (rows, vocabulary), Float32.</summary>
    public MatrixView Logits { get; init; }
}

/// <summary>A whole step of decode that was prepared for its operands (<see cref="Backend.PrepareDecodeStep"/>).</summary>
public abstract class PreparedDecodeStep : IDisposable
{
    /// <summary>Runs it, behind the operations called so far. It can be captured.</summary>
    public abstract void Run();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives back what it has; a run that is under way is finished.</summary>
    protected abstract void Dispose(bool disposing);
}

public abstract partial class Backend
{
    /// <summary>
    /// One token of each sequence through a whole model (Mamba, figure 3 and section 3.2) as one operation: embedding, layers of add, norm and
    /// block, the last norm and the head. For few rows, where the way from one operation to the next is what takes the time.
    /// </summary>
    /// <param name="args">The operands; all must outlive the step.</param>
    /// <returns>The step, or null where the backend has none of its own for these operands: then its parts do the same.</returns>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="InsufficientMemoryException">There is no room for what the blocks of the device tell each other.</exception>
    public PreparedDecodeStep? PrepareDecodeStep(in DecodeStepArgs args)
    {
        const string Operation = "DecodeStep";
        (long rows, int width) = (args.TokenIds.Rows, args.Embedding.Columns);
        ArgumentNullException.ThrowIfNull(args.Layers);
        Check.Given(Operation, "token ids", args.TokenIds);
        Check.Given(Operation, "embedding", args.Embedding);
        Check.Given(Operation, "final norm", args.FinalNormWeight);
        Check.Given(Operation, "logits", args.Logits);
        Check.Layout(Operation, args.Sequences, rows);
        Check.OneTokenEach(Operation, args.Sequences);
        Check.Shape(Operation, "token ids", args.TokenIds, rows, 1);
        Check.Type(Operation, "token ids", args.TokenIds, DataType.Int32);
        Check.Shape(Operation, "final norm", args.FinalNormWeight, 1, width);
        Check.Type(Operation, "final norm", args.FinalNormWeight, DataType.Float32);
        Check.Weight(Operation, "head", args.Head, args.Head.Rows, width);
        Check.Shape(Operation, "logits", args.Logits, rows, args.Head.Rows);
        Check.Type(Operation, "logits", args.Logits, DataType.Float32);
        foreach (DecodeStepLayer layer in args.Layers)
        {
            CheckLayer(Operation, layer, args.Layers[0], args.Sequences.SlotCount, width);
        }

        return PrepareDecodeStepCore(args);
    }

    /// <summary>The same with shapes that are known to fit.</summary>
    protected virtual PreparedDecodeStep? PrepareDecodeStepCore(in DecodeStepArgs args) => null;

    private static void CheckLayer(string operation, in DecodeStepLayer layer, in DecodeStepLayer first, long slots, int width)
    {
        Check.Given(operation, "A", first.A);
        Check.Given(operation, "convolution weight", first.ConvolutionWeight);
        (int channels, long states, long taps) = (first.A.Columns, first.A.Rows, first.ConvolutionWeight.Rows);
        int rank = first.TimeStepProjection.Columns;
        Check.Weight(operation, "in projection", layer.InProjection, 2 * channels, width);
        Check.Weight(operation, "scan projection", layer.ScanProjection, rank + (2 * states), channels);
        Check.Weight(operation, "time step projection", layer.TimeStepProjection, channels, rank);
        Check.Weight(operation, "out projection", layer.OutProjection, width, channels);
        Vectors("norm", layer.NormWeight, 1, width);
        Vectors("convolution weight", layer.ConvolutionWeight, taps, channels);
        Vectors("time step bias", layer.TimeStepBias, 1, channels);
        Vectors("A", layer.A, states, channels);
        Vectors("D", layer.D, 1, channels);
        if (!layer.ConvolutionBias.IsNone)
        {
            Vectors("convolution bias", layer.ConvolutionBias, 1, channels);
        }

        States("convolution before", layer.ConvolutionBefore, taps - 1);
        States("convolution after", layer.ConvolutionAfter, taps - 1);
        States("scan before", layer.ScanBefore, states);
        States("scan after", layer.ScanAfter, states);

        void Vectors(string name, in MatrixView view, long rows, int columns)
        {
            Check.Given(operation, name, view);
            Check.Shape(operation, name, view, rows, columns);
            Check.Type(operation, name, view, DataType.Float32);
        }

        void States(string name, in MatrixView view, long rows)
        {
            Check.Given(operation, name, view);
            Check.AtLeast(operation, name, view, slots * rows, channels);
            Check.Type(operation, name, view, DataType.Float32);
        }
    }
}
