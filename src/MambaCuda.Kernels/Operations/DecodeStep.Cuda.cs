using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // As in step_shape.cuh.
    private const int StepWarps = 8;
    private const int StepThreads = (StepWarps + StepFetchWarps + 1) * WarpThreads;
    private const int StepFetchWarps = 3;
    private const int StepOutputs = 16;
    private const int StepRowBytes = 512;
    private const int StepConvolutionWidth = 4;
    private const int StepMostRows = 4;
    private const int StepMostOwn = 40;
    private const int StepMostOwnOfFourRows = 24;
    private const int StepMostStates = 16;
    private const int StepCopies = 8;
    private const int StepMostStages = 24;

    private static readonly KernelFamily<DecodeStepShape> DecodeStepKernels = new(
        "decode_step.cu",
        shape => $"mamba::decode_step<mamba::StepShape<{shape.Bits}, {shape.Rows}, {shape.Width}, {shape.Channels}, {shape.Rank}, {shape.States}, "
            + $"{shape.Own}, {shape.Stages}, {shape.FixedBytes}>>",
        DecodeStepShape.Usual,
        oldest: new ComputeCapability(9, 0));  // no card of another generation was timed

    /// <inheritdoc/>
    protected override PreparedDecodeStep? PrepareDecodeStepCore(in DecodeStepArgs args) =>
        DecodeStepShapeOf(args) is { } shape ? new DecodeStep(this, shape, args) : null;

    /// <summary>How the kernel for a whole step is cut for a model, or null where there is none.</summary>
    private DecodeStepShape? DecodeStepShapeOf(in DecodeStepArgs args)
    {
        DecodeStepLayer first = args.Layers.Count > 0 ? args.Layers[0] : default;
        int rows = (int)Math.Min(args.TokenIds.Rows, StepMostRows + 1), width = args.Embedding.Columns, channels = first.A.Columns;
        if (args.Layers.Count == 0 || rows is 0 or > StepMostRows || _options.BatchInvariant || Trace is not null
            || ActivationType != DataType.BFloat16 || Context.Device.ComputeCapability < DecodeStepKernels.Oldest
            || !IsStepMatrix(args.Embedding) || first.ConvolutionWeight.Rows != StepConvolutionWidth
            || !IsDense(args.TokenIds) || first.A.Rows > StepMostStates || first.TimeStepProjection.Columns % 8 != 0)
        {
            return null;
        }

        WeightFormat format = WeightFormat.Of(args.Head);
        int groupSize = format.IsQuantized ? args.Head.Quantized.Layout.GroupSize : 0;
        if (!IsStepWeight(args.Head))
        {
            return null;
        }

        foreach (DecodeStepLayer layer in args.Layers)
        {
            if (!IsStepWeight(layer.InProjection) || !IsStepWeight(layer.ScanProjection)
                || !IsStepWeight(layer.TimeStepProjection, pairsOfScales: false) || !IsStepWeight(layer.OutProjection)
                || !IsDense(layer.ConvolutionWeight) || !IsDense(layer.A) || !IsDense(layer.ConvolutionBefore)
                || !IsDense(layer.ConvolutionAfter) || !IsDense(layer.ScanBefore) || !IsDense(layer.ScanAfter)
                || !AreAligned(16, layer.ConvolutionWeight, layer.ConvolutionBias, layer.ConvolutionBefore)
                || !AreAligned(16, layer.TimeStepBias, layer.A, layer.D, layer.ScanBefore))
            {
                return null;
            }
        }

        return DecodeStepShape.Of(
            format.IsQuantized ? format.Bits : 16,
            rows switch { 1 => 1, 2 => 2, _ => 4 },
            width,
            channels,
            first.TimeStepProjection.Columns,
            (int)first.A.Rows,
            args.Layers.Count,
            Context.Device.MultiprocessorCount,
            _library.MaxSharedBytes);

        // Scales are read in pairs; those of the time step's projection as they lie side by side.
        bool IsStepWeight(in WeightView weight, bool pairsOfScales = true)
        {
            if (WeightFormat.Of(weight) != format)
            {
                return false;
            }

            if (!format.IsQuantized)
            {
                return IsStepMatrix(weight.Matrix);
            }

            QuantizedView quantized = weight.Quantized;
            return quantized.Layout.GroupSize == groupSize && IsDense(quantized.Values) && IsDense(quantized.Scales)
                && AreAligned(16, quantized.Values) && Address(quantized.Scales) % 16 == 0 && (!pairsOfScales || quantized.Scales.Columns % 2 == 0);
        }

        bool IsStepMatrix(in MatrixView matrix) => matrix.Type == DataType.BFloat16 && IsDense(matrix) && AreAligned(16, matrix);

        static bool IsDense(in MatrixView matrix) => !matrix.IsNone && matrix.RowStride == matrix.Columns;
    }

    /// <summary>A step for its operands: where everything lies is in the device's memory, and what its blocks tell each other.</summary>
    private sealed class DecodeStep : PreparedDecodeStep
    {
        private readonly CudaBackend _backend;
        private readonly CudaKernel _kernel;
        private readonly DecodeStepShape _shape;
        private readonly DecodeStepParams _params;
        private readonly DeviceBuffer _memory;

        public DecodeStep(CudaBackend backend, DecodeStepShape shape, in DecodeStepArgs args)
        {
            _backend = backend;
            _shape = shape;
            _kernel = DecodeStepKernels.Get(backend._library, shape);
            DecodeStepLayerParams[] layers = [.. args.Layers.Select(Layer)];
            int copies = StepCopies / shape.Rows, blocks = shape.Blocks, values = shape.Values;
            long hidden = (long)copies * shape.Rows * shape.Width / 2, squares = StepCopies * shape.Rows * blocks;
            long shares = (long)blocks * blocks * DivideUp(values, blocks), projected = (long)StepCopies * values;
            long inner = (long)copies * shape.Rows * shape.Channels / 2;
            // In words; pairs of them are read at once.
            long[] counts = [layers.Length * (Marshal.SizeOf<DecodeStepLayerParams>() / sizeof(long)), hidden, squares, shares, projected, inner, 1];
            _memory = backend.Allocate(counts.Sum(count => (count + 1) / 2 * 2) * sizeof(long));
            MatrixView words = _memory.Matrix(DataType.Int64, 1, checked((int)(_memory.ByteLength / sizeof(long))));
            backend.Clear(words);
            backend.Upload(MemoryMarshal.Cast<DecodeStepLayerParams, long>(layers), words.ColumnRange(0, (int)counts[0]));
            nint at = backend.Address(words);
            nint[] places = new nint[counts.Length];
            for (int i = 0; i < counts.Length; i++)
            {
                places[i] = at;
                at += (nint)((counts[i] + 1) / 2 * 2 * sizeof(long));
            }

            int vocabulary = checked((int)args.Head.Rows);
            _params = new DecodeStepParams
            {
                Layers = places[0],
                TokenIds = backend.Address(args.TokenIds),
                Embedding = backend.Address(args.Embedding),
                FinalNormWeight = backend.Address(args.FinalNormWeight),
                Head = backend.WeightOf(args.Head).Values,
                HeadScales = backend.WeightOf(args.Head).Scales,
                Logits = backend.Address(args.Logits),
                Hidden = places[1],
                Squares = places[2],
                Shares = places[3],
                Projected = places[4],
                Inner = places[5],
                Number = places[6],
                LogitsStride = args.Logits.RowStride,
                Sequences = backend._sequenceTables.For(args.Sequences),
                Rows = (int)args.TokenIds.Rows,
                LayerCount = args.Layers.Count,
                Vocabulary = vocabulary,
                OwnWords = DivideUp(vocabulary, blocks),
                GroupShift = backend.WeightOf(args.Head).GroupShift,
                Epsilon = args.Epsilon,
            };
        }

        public override void Run() => _backend.Launch(
            _kernel,
            _shape.Blocks,
            StepThreads,
            _params,
            _shape.FixedBytes + (_shape.Stages * _shape.StageBytes) + (_params.LayerCount * Marshal.SizeOf<DecodeStepLayerParams>()),
            waitForEachOther: true);

        protected override void Dispose(bool disposing) => _memory.Dispose();

        private DecodeStepLayerParams Layer(DecodeStepLayer layer) => new()
        {
            InWeight = _backend.WeightOf(layer.InProjection).Values,
            ScanWeight = _backend.WeightOf(layer.ScanProjection).Values,
            DeltaWeight = _backend.WeightOf(layer.TimeStepProjection).Values,
            OutWeight = _backend.WeightOf(layer.OutProjection).Values,
            InScales = _backend.WeightOf(layer.InProjection).Scales,
            ScanScales = _backend.WeightOf(layer.ScanProjection).Scales,
            DeltaScales = _backend.WeightOf(layer.TimeStepProjection).Scales,
            OutScales = _backend.WeightOf(layer.OutProjection).Scales,
            NormWeight = _backend.Address(layer.NormWeight),
            ConvWeight = _backend.Address(layer.ConvolutionWeight),
            ConvBias = _backend.Address(layer.ConvolutionBias),
            DeltaBias = _backend.Address(layer.TimeStepBias),
            A = _backend.Address(layer.A),
            D = _backend.Address(layer.D),
            ConvState = _backend.Address(layer.ConvolutionBefore),
            State = _backend.Address(layer.ScanBefore),
            NextConvState = _backend.Address(layer.ConvolutionAfter),
            NextState = _backend.Address(layer.ScanAfter),
        };
    }

    /// <summary>The sizes of a model, how many channels a block owns, and the stages of its ring: all are parts of the kernel's code.</summary>
    private readonly record struct DecodeStepShape(int Bits, int Rows, int Width, int Channels, int Rank, int States, int Own, int Stages)
    {
        private const int UsualMultiprocessors = 132;
        private const int UsualSharedBytes = 227 << 10;

        private static readonly int[] UsualRows = [1, 2, 4];
        private static readonly int[] UsualBits = [16, 8, 4];
        private static readonly (int Width, int Layers)[] UsualModels = [(768, 24), (1024, 48), (1536, 48), (2048, 48), (2560, 64)];

        /// <summary>Models of the paper on an H200; others are compiled as they come.</summary>
        public static IEnumerable<DecodeStepShape> Usual =>
            from rows in UsualRows
            from model in UsualModels
            from bits in rows == 1 && model.Width == 2560 ? UsualBits : [16]
            let shape = Of(bits, rows, model.Width, 2 * model.Width, model.Width / 16, 16, model.Layers, UsualMultiprocessors, UsualSharedBytes)
            where shape is not null
            select shape.Value;

        /// <summary>
        /// How a model is cut for a card, or null where the captured kernels of a step's parts are to be taken. Microseconds of a whole step on
        /// an H200, beside theirs: one row of 130m 174 (265), 370m 373 (552), 790m 525 (726), 1.4b 696 (994), 2.8b 1,469 (1,771), in 8 bits
        /// 930 (1,362), in 4 bits 1,012 (1,502); two rows of 130m 216 (305), 1.4b 876 (1,398), 2.8b 1,892 (2,583); four of 130m 273 (334),
        /// 370m 470 (698), 790m 899 (1,230), but of 1.4b 1,510 (1,438).
        /// </summary>
        public static DecodeStepShape? Of(
            int bits, int rows, int width, int channels, int rank, int states, int layers, int multiprocessors, int sharedBytes)
        {
            int each = DivideUp(channels, multiprocessors), unit = bits == 16 && each <= WarpThreads ? 4 : 8;
            int own = DivideUp(each, unit) * unit;
            DecodeStepShape shape = new(bits, rows, width, channels, rank, states, own, 0);
            int stages = (sharedBytes - shape.FixedBytes - (layers * Marshal.SizeOf<DecodeStepLayerParams>())) / shape.StageBytes;
            shape = shape with { Stages = Math.Min(StepMostStages, stages / StepFetchWarps * StepFetchWarps) };
            return own <= (rows == 4 ? StepMostOwnOfFourRows : StepMostOwn) && shape.OwnWidth <= WarpThreads
                && shape.Stages >= 2 * StepFetchWarps && width % shape.Piece == 0 && channels % shape.Piece == 0
                && (bits == 16 || rows == 1) ? shape : null;
        }

        /// <summary>The inputs of a stage, and of a warp of it.</summary>
        private int Inputs => StepRowBytes * 8 / Bits;

        private int Piece => Inputs / StepWarps;

        /// <summary>Weights, and the scales of groups of the fewest numbers that there are.</summary>
        public int StageBytes => StepOutputs * (StepRowBytes + (Bits == 16 ? 0 : Inputs / LeastGroup * 2));

        private int LeastGroup => Bits == 8 ? 64 : 32;

        public int Blocks => DivideUp(Channels, Own);

        public int OwnWidth => DivideUp(DivideUp(Width, Blocks), 2) * 2;

        public int Values => (Rank + (2 * States)) * Rows;

        /// <summary>No less than the shared memory beside ring and layers.</summary>
        public int FixedBytes
        {
            get
            {
                int outputs = Rank + (2 * States), scanPieces = DivideUp(Own, 16), deltaPieces = DivideUp(Rank, 32);
                int barriers = ((2 * StepMostStages) + 6) * sizeof(long);
                int scanWeight = DivideUp(outputs, 8) * scanPieces * 16 * Bits, deltaWeight = DivideUp(Own, 8) * deltaPieces * 32 * Bits;
                int scales = Bits == 16 ? (DivideUp(outputs, 8) * 16) + (2 * Own)
                    : (DivideUp(outputs, 8) * 32 * (DivideUp(Own, 2 * LeastGroup) + 1)) + (2 * Own * DivideUp(Rank, LeastGroup));
                int vectors = (States + StepConvolutionWidth + 3 + (Rows * (StepConvolutionWidth - 1 + States))) * Own * sizeof(float);
                int ofU = 2 * StepWarps * ((DivideUp(Own, WarpThreads) * WarpThreads) + 8);
                int perRow = sizeof(float) + ofU + (2 * ((DivideUp(outputs, 32) * 32) + 40));
                int pieces = DivideUp(Math.Max(Width, Channels), Inputs);
                int inputs = StepWarps * ((Rows * ((pieces * Piece / 2) + 4)) + pieces) * sizeof(int);
                int sums = StepWarps * Rows * (DivideUp(2 * Own, StepOutputs) + DivideUp(OwnWidth, StepOutputs)) * StepOutputs * sizeof(float);
                return DivideUp(barriers + scanWeight + deltaWeight + scales + vectors + (Rows * perRow) + inputs + sums + 512, 128) * 128;
            }
        }

        public override string ToString() =>
            $"{Rows} {(Rows == 1 ? "row" : "rows")}, {Width} x {Channels}, {Own} channels a block{(Bits == 16 ? "" : $", int{Bits}")}";
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct DecodeStepLayerParams
    {
        public nint InWeight;
        public nint ScanWeight;
        public nint DeltaWeight;
        public nint OutWeight;
        public nint InScales;
        public nint ScanScales;
        public nint DeltaScales;
        public nint OutScales;
        public nint NormWeight;
        public nint ConvWeight;
        public nint ConvBias;
        public nint DeltaBias;
        public nint A;
        public nint D;
        public nint ConvState;
        public nint State;
        public nint NextConvState;
        public nint NextState;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct DecodeStepParams
    {
        public nint Layers;
        public nint TokenIds;
        public nint Embedding;
        public nint FinalNormWeight;
        public nint Head;
        public nint HeadScales;
        public nint Logits;
        public nint Hidden;
        public nint Squares;
        public nint Shares;
        public nint Projected;
        public nint Inner;
        public nint Number;
        public long LogitsStride;
        public SequenceTable Sequences;
        public int Rows;
        public int LayerCount;
        public int Vocabulary;
        public int OwnWords;
        public int GroupShift;
        public float Epsilon;
    }
}
