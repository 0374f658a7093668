using System.Numerics;
using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <summary>
    /// Up to here a quantized weight is read again for each sixteen rows, from the L2 after the first; from here on it is made once as floats,
    /// which are then written and read.
    /// </summary>
    private const int QuantizedVectorRows = 64;

    private const int QuantizedVectorInputs = 8;
    private const int QuantizedOutputs = 16;
    private const int QuantizedMaxWarps = 16;

    /// <summary>Warps of a multiprocessor that keep the memory busy, each with two kilobytes under way.</summary>
    private const int QuantizedWarps = 24;

    private const int DequantizeThreads = 256;

    /// <summary>Parts of a weight that is made as floats begin where rows of y are aligned.</summary>
    private const int PartMultiple = 64;

    private static readonly KernelFamily<QuantizedVariant> LinearQuantizedVectorKernels = new(
        "linear_quantized.cu",
        variant => $"mamba::linear_quantized_vector<{TypeName(variant.X)}, {variant.Bits}>",
        from x in VectorVariant.ActivationTypes from bits in QuantizedVariant.AllBits select new QuantizedVariant(x, bits, 1),
        describe: variant => $"vector int{variant.Bits}");

    private static readonly KernelFamily<QuantizedVariant> LinearQuantizedMmaKernels = new(
        "linear_quantized.cu",
        variant => $"mamba::linear_quantized_mma<{TypeName(variant.X)}, {variant.Bits}, {variant.Rows / 8}>",
        from x in VectorVariant.ActivationTypes
        where x != DataType.Float32
        from bits in QuantizedVariant.AllBits
        from rows in new[] { 8, 16 }
        select new QuantizedVariant(x, bits, rows),
        describe: variant => $"vector mma int{variant.Bits} {variant.Rows} rows");

    private static readonly KernelFamily<QuantizedVariant> DequantizeWeightKernels = new(
        "linear_quantized.cu",
        variant => $"mamba::dequantize_weight<{TypeName(variant.X)}, {variant.Bits}>",
        from x in VectorVariant.ActivationTypes from bits in QuantizedVariant.AllBits select new QuantizedVariant(x, bits, 0),
        describe: variant => $"dequantize int{variant.Bits}");

    // Beside _scratch, which the tiles use for their own partial sums.
    private ScratchMemory? _dequantizedMemory;

    /// <summary>The most scratch for a weight as floats, as far as its parts can be that small; tests have many parts by it.</summary>
    internal long DequantizedBytes { get; set; } = 64L << 20;

    private void LinearQuantized(in LinearForwardArgs args, LinearVariant variant)
    {
        if (variant.Algorithm == LinearAlgorithm.Row)
        {
            RunRow(args);
        }
        else if (variant.Algorithm == LinearAlgorithm.Vector)
        {
            RunQuantizedVector(args, variant.Tile.Kind == LinearTileKind.Mma);
        }
        else
        {
            RunDequantized(args);
        }
    }

    private List<LinearVariant> QuantizedVariants(in LinearForwardArgs args)
    {
        List<LinearVariant> all = [new LinearVariant(LinearAlgorithm.Dequantized)];
        if (TakesNumbersRow(args))
        {
            all.Add(new LinearVariant(LinearAlgorithm.Row));
        }

        if (IsForQuantizedVector(args))
        {
            all.Add(Vector(mma: false));
            if (TensorCoresKnow(args.X.Type))
            {
                all.Add(Vector(mma: true));
            }
        }

        return all;
    }

    private LinearVariant ChooseQuantized(in LinearForwardArgs args)
    {
        if (!_options.BatchInvariant && _options.LinearAlgorithm is LinearAlgorithm.Auto or LinearAlgorithm.Row && TakesNumbersRow(args))
        {
            return new LinearVariant(LinearAlgorithm.Row);
        }

        bool isVector = IsForQuantizedVector(args) && !_options.BatchInvariant
            && _options.LinearAlgorithm is LinearAlgorithm.Auto or LinearAlgorithm.Vector;
        return isVector ? Vector(TensorCoresKnow(args.X.Type)) : new LinearVariant(LinearAlgorithm.Dequantized);
    }

    /// <summary>The kernel for one row makes fixed-point numbers of x: a float32 result would show it.</summary>
    private bool TakesNumbersRow(in LinearForwardArgs args) => args.Y.Type == ActivationType && TakesRow(args.X, args.Weight);

    /// <summary>Few rows, which can be read in vectors.</summary>
    private bool IsForQuantizedVector(in LinearForwardArgs args) =>
        args.X.Rows <= QuantizedVectorRows && args.X.Columns % QuantizedVectorInputs == 0 && AreAligned(VectorVariant.Bytes, args.X);

    private void RunQuantizedVector(in LinearForwardArgs args, bool mma)
    {
        QuantizedView quantized = args.Weight.Quantized;
        int rows = checked((int)args.X.Rows), outputs = checked((int)quantized.Rows);
        int blockRows = mma ? (rows <= 8 ? 8 : 16) : 1;
        int outputBlocks = DivideUp(outputs, QuantizedOutputs), rowGroups = DivideUp(rows, blockRows);

        // As many warps as keep the memory busy, and no more than have as many steps as the others. The number of rows must have no part in
        // it: it decides the order of sums.
        int steps = Math.Max(1, DivideUp(quantized.Columns, 8 * quantized.Layout.PieceWeights));
        int wanted = Math.Clamp(DivideUp(QuantizedWarps * Context.Device.MultiprocessorCount, outputBlocks), 1, QuantizedMaxWarps);
        int warps = DivideUp(steps, DivideUp(steps, wanted));

        QuantizedVariant variant = new(args.X.Type, WeightFormat.Of(quantized).Bits, blockRows);
        KernelFamily<QuantizedVariant> family = mma ? LinearQuantizedMmaKernels : LinearQuantizedVectorKernels;
        Launch(family.Get(_library, variant), checked(outputBlocks * rowGroups), WarpThreads * warps, new LinearQuantizedParams
        {
            X = Address(args.X),
            Weight = WeightOf(quantized),
            Bias = Address(args.Bias),
            Y = Address(args.Y),
            XStride = args.X.RowStride,
            YStride = args.Y.RowStride,
            Rows = rows,
            Outputs = outputs,
            RowGroups = rowGroups,
            FloatResult = args.Y.Type == DataType.Float32 ? 1 : 0,
        }, overlaps: args.WeightIsAtRest);
    }

    /// <summary>Some of the weight's rows at a time as floats in the type of activations, and the outputs that they make.</summary>
    private void RunDequantized(in LinearForwardArgs args)
    {
        QuantizedView quantized = args.Weight.Quantized;
        DataType type = args.X.Type;
        long pieces = DivideUp(quantized.Columns, quantized.Layout.PieceWeights), stride = pieces * quantized.Layout.PieceWeights;
        long perPart = Math.Max(1, DequantizedBytes / Math.Max(1, stride * type.Size()));
        perPart = perPart > PartMultiple ? perPart / PartMultiple * PartMultiple : perPart;
        CudaKernel kernel = DequantizeWeightKernels.Get(_library, new QuantizedVariant(type, WeightFormat.Of(quantized).Bits, 0));
        _dequantizedMemory ??= new ScratchMemory(this);
        for (long first = 0; first < quantized.Rows; first += perPart)
        {
            long count = Math.Min(perPart, quantized.Rows - first);
            QuantizedView part = quantized.RowRange(first, count);
            long bytes = Math.Max(1, count * stride * type.Size());
            CudaBuffer memory = new(this, DeviceMemory.Adopt(Context, _dequantizedMemory.Reserve(bytes), bytes));
            MatrixView weight = new(memory, 0, type, count, quantized.Columns, stride);
            if (quantized.Columns > 0)
            {
                Launch(kernel, checked((int)DivideUp(count * pieces, DequantizeThreads)), DequantizeThreads, new DequantizeWeightParams
                {
                    Weight = WeightOf(part),
                    To = Address(weight),
                    Stride = stride,
                    Rows = count,
                });
            }

            int outputs = checked((int)count), firstOutput = checked((int)first);
            LinearForwardArgs made = args with
            {
                Weight = weight,
                Bias = args.Bias.IsNone ? default : args.Bias.ColumnRange(firstOutput, outputs),
                Y = args.Y.ColumnRange(firstOutput, outputs),
                WeightIsAtRest = false,
            };
            LinearForward(made, ChooseLinear(made));
        }
    }

    /// <summary>A weight as kernels take it; the numbers of a quantized one are read in pieces.</summary>
    /// <exception cref="ShapeException">The numbers do not start where pieces can.</exception>
    private WeightMatrix WeightOf(in WeightView weight)
    {
        if (!weight.IsQuantized)
        {
            return new WeightMatrix
            {
                Values = Address(weight.Matrix),
                RowBytes = weight.Matrix.RowStride * weight.Matrix.Type.Size(),
                Columns = weight.Columns,
            };
        }

        QuantizedView quantized = weight.Quantized;
        if (!AreAligned(QuantizedLayout.PieceBytes, quantized.Values))
        {
            ShapeException.Throw(
                nameof(LinearForward),
                $"the numbers of weight {quantized} must start at multiples of {QuantizedLayout.PieceBytes} bytes in every row");
        }

        return new WeightMatrix
        {
            Values = Address(quantized.Values),
            Scales = Address(quantized.Scales),
            RowBytes = quantized.Values.RowStride,
            ScaleStride = quantized.Scales.RowStride,
            Columns = quantized.Columns,
            GroupShift = BitOperations.Log2((uint)quantized.Layout.GroupSize),
        };
    }

    private readonly record struct QuantizedVariant(DataType X, int Bits, int Rows)
    {
        public static readonly int[] AllBits = [8, 4];
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LinearQuantizedParams
    {
        public nint X;
        public WeightMatrix Weight;
        public nint Bias;
        public nint Y;
        public long XStride;
        public long YStride;
        public int Rows;
        public int Outputs;
        public int RowGroups;
        public int FloatResult;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct DequantizeWeightParams
    {
        public WeightMatrix Weight;
        public nint To;
        public long Stride;
        public long Rows;
    }
}
