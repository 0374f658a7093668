namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.MixerStep"/>. "Inner" is the field's name of what runs through convolution and scan.</summary>
public readonly struct MixerStepArgs
{
    /// <summary>One token each, and the slot of each sequence's states.</summary>
    public SequenceLayout Sequences { get; init; }

    /// <summary>Input of the convolution, (rows, channels), activation type.</summary>
    public MatrixView X { get; init; }

    /// <summary>The gate, (rows, channels), activation type.</summary>
    public MatrixView Z { get; init; }

    /// <summary>The convolution's kernel, (width, channels), Float32.</summary>
    public MatrixView ConvolutionWeight { get; init; }

    /// <summary>Its bias, (1, channels), Float32; or none.</summary>
    public MatrixView ConvolutionBias { get; init; }

    /// <summary>Its state before, (slots * (width - 1), channels), Float32.</summary>
    public MatrixView ConvolutionBefore { get; init; }

    /// <summary>Its state after; may be the same view.</summary>
    public MatrixView ConvolutionAfter { get; init; }

    /// <summary>Gives low-rank delta, B and C of the inner activations, (rank + 2 states, channels): of any weight type, or quantized.</summary>
    public WeightView ScanProjection { get; init; }

    /// <summary>Gives delta of the low-rank one, (channels, rank): of any weight type, or quantized.</summary>
    public WeightView TimeStepProjection { get; init; }

    /// <summary>Added to delta before softplus, (1, channels), Float32.</summary>
    public MatrixView TimeStepBias { get; init; }

    /// <summary>A, (states, channels), Float32.</summary>
    public MatrixView A { get; init; }

    /// <summary>D, (1, channels), Float32.</summary>
    public MatrixView D { get; init; }

    /// <summary>The scan's state before, (slots * states, channels), Float32.</summary>
    public MatrixView ScanBefore { get; init; }

    /// <summary>The scan's state after; may be the same view.</summary>
    public MatrixView ScanAfter { get; init; }

    /// <summary>Memory for the inner activations, (rows, channels), activation type; may be that of Y.</summary>
    public MatrixView InnerWork { get; init; }

    /// <summary>Memory for low-rank delta, B and C, (rows, rank + 2 states), activation type.</summary>
    public MatrixView ScanInputsWork { get; init; }

    /// <summary>Memory for delta, (rows, channels), activation type.</summary>
    public MatrixView DeltaWork { get; init; }

    /// <summary>Result, (rows, channels), activation type.</summary>
    public MatrixView Y { get; init; }

    internal OperationWork Work
    {
        get
        {
            double elements = (double)X.Rows * X.Columns;
            OperationWork operands = OperationWork.Of(X, Z, ConvolutionWeight, ConvolutionBias, TimeStepBias, A, D, Y);
            return new OperationWork(
                operands.Bytes + ScanProjection.ByteLength + TimeStepProjection.ByteLength
                + (2 * Sequences.Count * (ConvolutionWeight.Rows - 1 + A.Rows) * X.Columns * sizeof(float)))
            {
                Products = 2 * elements * (ScanProjection.Rows + TimeStepProjection.Columns),
                Arithmetic = elements * ((2 * ConvolutionWeight.Rows) + (6 * A.Rows) + 8),
                Special = elements * (A.Rows + 6),
            };
        }
    }
}

public abstract partial class Backend
{
    /// <summary>
    /// All of a block that stands between its two large projections, for one token of each sequence (Mamba, figure 3): convolution and SiLU,
    /// the projections of delta, B and C, the scan's step, the gate. What the work memory holds afterwards is not said. Weights are at rest
    /// (<see cref="LinearForwardArgs.WeightIsAtRest"/>).
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    public void MixerStep(in MixerStepArgs args)
    {
        const string Operation = nameof(MixerStep);
        Check.Given(Operation, "a", args.A);
        Check.Given(Operation, "d", args.D);
        Check.Given(Operation, "z", args.Z);
        Check.Given(Operation, "time step bias", args.TimeStepBias);
        Check.Given(Operation, "work for inner activations", args.InnerWork);
        Check.Given(Operation, "work for scan inputs", args.ScanInputsWork);
        Check.Given(Operation, "work for delta", args.DeltaWork);
        Check.Given(Operation, "convolution before", args.ConvolutionBefore);
        Check.Given(Operation, "convolution after", args.ConvolutionAfter);
        Check.Given(Operation, "scan before", args.ScanBefore);
        Check.Given(Operation, "scan after", args.ScanAfter);
        (int rank, int states) = (args.TimeStepProjection.Columns, checked((int)args.A.Rows));
        Check.Weight(Operation, "scan projection", args.ScanProjection, rank + (2 * states), args.A.Columns);
        Check.Weight(Operation, "time step projection", args.TimeStepProjection, args.A.Columns, rank);
        Check.Shape(Operation, "work for scan inputs", args.ScanInputsWork, args.X.Rows, rank + (2 * states));
        Check.Type(Operation, "work for scan inputs", args.ScanInputsWork, ActivationType);

        // The parts' own checks have the rest.
        CheckCausalConv1d(Operation, Convolution(args));
        CheckSelectiveScan(Operation, Scan(args));
        Check.OneTokenEach(Operation, args.Sequences);
        Trace?.BeginOperation(Operation, args.Work);
        MixerStepCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void MixerStepCore(in MixerStepArgs args);

    /// <summary>The operation as four others.</summary>
    private protected void MixerStepByParts(in MixerStepArgs args)
    {
        CausalConv1dUpdateCore(Convolution(args));
        LinearForwardCore(new LinearForwardArgs
        {
            X = args.InnerWork,
            Weight = args.ScanProjection,
            Y = args.ScanInputsWork,
            WeightIsAtRest = true,
        });
        LinearForwardCore(new LinearForwardArgs
        {
            X = args.ScanInputsWork.ColumnRange(0, args.TimeStepProjection.Columns),
            Weight = args.TimeStepProjection,
            Y = args.DeltaWork,
            WeightIsAtRest = true,
        });
        SelectiveStateUpdateCore(Scan(args));
    }

    private static CausalConv1dForwardArgs Convolution(in MixerStepArgs args) => new()
    {
        X = args.X,
        Weight = args.ConvolutionWeight,
        Bias = args.ConvolutionBias,
        Sequences = args.Sequences,
        InitialState = args.ConvolutionBefore,
        FinalState = args.ConvolutionAfter,
        Silu = true,
        Y = args.InnerWork,
    };

    private static SelectiveScanForwardArgs Scan(in MixerStepArgs args)
    {
        (int rank, int states) = (args.TimeStepProjection.Columns, (int)args.A.Rows);
        return new SelectiveScanForwardArgs
        {
            U = args.InnerWork,
            Delta = args.DeltaWork,
            A = args.A,
            B = args.ScanInputsWork.ColumnRange(rank, states),
            C = args.ScanInputsWork.ColumnRange(rank + states, states),
            D = args.D,
            Z = args.Z,
            DeltaBias = args.TimeStepBias,
            DeltaSoftplus = true,
            Sequences = args.Sequences,
            InitialState = args.ScanBefore,
            FinalState = args.ScanAfter,
            Y = args.Y,
        };
    }
}
