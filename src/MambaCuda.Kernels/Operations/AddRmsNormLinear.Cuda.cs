using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // As in add_rms_norm_linear.cu.
    private const int RowChunk = 8;
    private const int RowFloatPiece = 8;
    private const int RowMostParts = 16;
    private const int RowMostWarpsOfNumbers = 12;
    private const int ScalePairBytes = 2 * sizeof(ushort);
    private const int RowMostPieces = 2;
    private const int RowStageBytes = 4 * 16;

    // Most sums of parts that a block leaves.
    private const int RowSumBytes = 2 << 10;

    // Above, two pieces a lane: fewer parts of a row to be added up.
    private const int RowInputsOfOnePiece = 1024;

    private static readonly KernelFamily<RowVariant> AddRmsNormLinearKernels = new(
        "add_rms_norm_linear.cu",
        variant => $"mamba::add_rms_norm_linear<{TypeName(variant.X)}, {TypeName(variant.Y)}, {variant.Weight.Name}, "
            + $"{variant.Pieces}, {RowStages(variant.Weight, variant.Norm)}, {Word(variant.Norm)}>",
        RowVariant.All,
        inSteps: true);

    /// <inheritdoc/>
    protected override void AddRmsNormLinearCore(in AddRmsNormLinearArgs args)
    {
        if (!_options.BatchInvariant && TakesRow(args.NormWork, args.Weight, args.X, args.Residual, args.ResidualOut, args.NormWeight))
        {
            RunRow(args, hasNorm: true, weightIsAtRest: true);
        }
        else
        {
            AddRmsNormThenLinear(args);
        }
    }

    /// <summary>Whether the kernel for one row can be used, which reads 16 bytes at once.</summary>
    private bool TakesRow(in MatrixView x, in WeightView weight, params ReadOnlySpan<MatrixView> more) =>
        x.Rows == 1 && weight.Rows > 0 && MeetsFewRows(weight, x.Type)
        && x.Columns > 0 && x.Columns % RowChunk == 0 && RowParts(weight).Parts <= RowMostWarps(WeightFormat.Of(weight), norm: false)
        && AreAligned(16, weight.Stored) && AreAligned(16, x) && AreAligned(16, more)
        && (!weight.IsQuantized || AreAligned(ScalePairBytes, weight.Quantized.Scales));

    /// <summary>Whether kernels for few rows, of their own, multiply such activations with a weight; numbers meet them in tensor cores.</summary>
    private bool MeetsFewRows(in WeightView weight, DataType activation) =>
        WeightFormat.OfFew(activation).Contains(WeightFormat.Of(weight)) && (!weight.IsQuantized || TensorCoresKnow(activation));

    /// <summary>How much of the weights may wait: a layer without a norm has kernels before it that leave memory idle.</summary>
    private static int RowStages(WeightFormat weight, bool norm) => weight.Bits switch
    {
        0 => norm ? 3 : 6,
        8 => norm ? 4 : 5,
        _ => norm ? 3 : 5,
    };

    /// <summary>What a warp has in shared memory: weights, and their scales.</summary>
    private static int RowWarpBytes(WeightFormat weight, bool norm)
    {
        int scaleWords = weight.Bits switch { 0 => 0, 8 => 4 * 4, _ => 4 * 16 };
        return RowStages(weight, norm) * ((WarpThreads * RowStageBytes) + (scaleWords * sizeof(int)));
    }

    /// <summary>
    /// The shared memory of a block: those with and without a norm, which follow each other, together fit a multiprocessor once, so that
    /// blocks of the one that begins lie beside those of the one that ends, and on every multiprocessor just one.
    /// </summary>
    private int RowSharedBytes(bool norm) => (int)(_library.MaxSharedBytes * (norm ? 0.43 : 0.55));

    private int RowMostWarps(WeightFormat weight, bool norm) =>
        Math.Min(weight.IsQuantized ? RowMostWarpsOfNumbers : RowMostParts, (RowSharedBytes(norm) - RowSumBytes) / RowWarpBytes(weight, norm));

    /// <summary>How the inputs are cut: pieces of a lane, and parts.</summary>
    private static (int Pieces, int Parts) RowParts(in WeightView weight)
    {
        int pieces = weight.IsQuantized || weight.Columns <= RowInputsOfOnePiece ? 1 : RowMostPieces;
        return (pieces, DivideUp(weight.Columns, pieces * WarpThreads * RowPieceInputs(weight)));
    }

    private static int RowPieceInputs(in WeightView weight) => weight.IsQuantized ? weight.Quantized.Layout.PieceWeights : RowFloatPiece;

    private void RunRow(in LinearForwardArgs args) => RunRow(
        new AddRmsNormLinearArgs { X = args.X, Weight = args.Weight, Bias = args.Bias, Y = args.Y }, hasNorm: false, args.WeightIsAtRest);

    private void RunRow(in AddRmsNormLinearArgs args, bool hasNorm, bool weightIsAtRest)
    {
        int outputs = checked((int)args.Weight.Rows);
        (int pieces, int parts) = RowParts(args.Weight);
        WeightFormat format = WeightFormat.Of(args.Weight);
        int groups = RowMostWarps(format, hasNorm) / parts;
        int rows = RowStageBytes / (pieces * format.BytesOf(RowPieceInputs(args.Weight)));
        int room = (RowSharedBytes(hasNorm) - (parts * groups * RowWarpBytes(format, hasNorm))) / sizeof(float);
        int mostRounds = Math.Max(1, (room / (groups * parts * rows)) - 1);
        int blocks = Math.Min(Context.Device.MultiprocessorCount, DivideUp(outputs, groups));
        blocks = Math.Max(blocks, DivideUp(outputs, groups * rows * mostRounds));
        RowVariant variant = new(ActivationType, format, args.Y.Type, pieces, hasNorm);
        Launch(
            AddRmsNormLinearKernels.Get(_library, variant),
            blocks,
            parts * groups * WarpThreads,
            new AddRmsNormLinearParams
            {
                X = Address(args.X),
                Residual = Address(args.Residual),
                ResidualOut = Address(args.ResidualOut),
                NormWeight = Address(args.NormWeight),
                Weight = WeightOf(args.Weight),
                Bias = Address(args.Bias),
                Y = Address(args.Y),
                Outputs = outputs,
                Parts = parts,
                Rounds = outputs / (blocks * groups * rows),
                Epsilon = args.Epsilon,
            },
            RowSharedBytes(hasNorm),
            overlaps: weightIsAtRest);
    }

    private readonly record struct RowVariant(DataType X, WeightFormat Weight, DataType Y, int Pieces, bool Norm)
    {
        public static IEnumerable<RowVariant> All =>
            from x in VectorVariant.ActivationTypes
            from weight in WeightFormat.OfFew(x)
            from y in ResultTypes(x)
            from pieces in weight.IsQuantized ? [1] : new[] { 1, RowMostPieces }
            from norm in VectorVariant.Either
            where norm || y == x || !weight.IsQuantized
            select new RowVariant(x, weight, y, pieces, norm);

        public override string ToString() =>
            $"row{Weight.Suffix}, {Pieces} {(Pieces == 1 ? "piece" : "pieces")}{(Norm ? " norm" : "")}";
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct AddRmsNormLinearParams
    {
        public nint X;
        public nint Residual;
        public nint ResidualOut;
        public nint NormWeight;
        public WeightMatrix Weight;
        public nint Bias;
        public nint Y;
        public int Outputs;
        public int Parts;
        public int Rounds;
        public float Epsilon;
    }
}
