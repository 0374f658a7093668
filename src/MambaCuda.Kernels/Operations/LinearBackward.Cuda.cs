using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <remarks>
/// The gradients of x and of the weight are the forward's product over other operands, perhaps added to what is there: by cuBLASLt where it
/// is found, which reads operands transposed, else by our own tiles, which do not, so that operands are transposed into scratch first.
/// </remarks>
public sealed partial class CudaBackend
{
    private const int BackwardThreads = 256;

    // As in linear_backward.cu.
    private const int TransposeSide = 64;
    private const int ColumnSumLanes = 32;

    // Rows that are summed at once, and as many chunks as keep a large card busy with few columns. No card has a say in it.
    private const int ColumnSumRows = 128;
    private const int MostColumnSumChunks = 64;

    /// <summary>What panels are multiples of: the largest tile, and so many elements that every row of scratch is aligned.</summary>
    private const int PanelUnit = 256;

    // Types of CUDA that are as large as an element.
    private static readonly KernelFamily<int> TransposeKernels = new(
        "linear_backward.cu",
        bytes => $"mamba::transpose<{(bytes == 4 ? "unsigned int" : "unsigned short")}>",
        [4, 2],
        describe: _ => "transpose");

    private static readonly KernelFamily<ColumnSumsVariant> ColumnSumsKernels = new(
        "linear_backward.cu",
        variant => $"mamba::column_sums<{TypeName(variant.Type)}, {Word(variant.Aligned)}>",
        from type in VectorVariant.ActivationTypes from aligned in VectorVariant.Either select new ColumnSumsVariant(type, aligned));

    // Beside _scratch, which the tiles use for their own partial sums.
    private ScratchMemory? _transposedMemory;

    /// <summary>The most scratch for transposed operands, as far as panels can be that short; tests have many panels by it.</summary>
    internal long TransposedBytes { get; set; } = 256L << 20;

    /// <summary>The gradients of a linear layer, their products in one way where that can compute them; meant for measurements.</summary>
    /// <param name="args">The operands.</param>
    /// <param name="algorithm">
    /// Auto or CublasLt for cuBLASLt where it is found, TensorCore for our own tiles on tensor cores; what neither can compute, and with
    /// Simt all, goes by float32 arithmetic.
    /// </param>
    public void LinearBackward(in LinearBackwardArgs args, LinearAlgorithm algorithm)
    {
        if (!args.GradX.IsNone && args.GradX.Rows != 0 && args.GradX.Columns != 0)
        {
            InputGradient(args, algorithm);
        }

        if (!args.GradWeight.IsNone && args.GradWeight.Rows != 0 && args.GradWeight.Columns != 0)
        {
            WeightGradient(args, algorithm);
        }

        if (!args.GradBias.IsNone && args.GradY.Rows != 0 && args.GradY.Columns != 0)
        {
            BiasGradient(args.GradY, args.GradBias);
        }
    }

    /// <inheritdoc/>
    protected override void LinearBackwardCore(in LinearBackwardArgs args) =>
        LinearBackward(args, _options.BatchInvariant ? LinearAlgorithm.TensorCore : _options.LinearAlgorithm);

    private void InputGradient(in LinearBackwardArgs args, LinearAlgorithm algorithm)
    {
        int inputs = args.GradX.Columns, outputs = args.GradY.Columns;
        if (outputs == 0)
        {
            if (!args.AddToGradX)
            {
                Clear(args.GradX);
            }

            return;
        }

        RowProduct product = new(args.GradY.Rows, outputs, inputs) { WeightIsTransposed = true, Accumulate = args.AddToGradX };
        if (TryProduct(algorithm, product, args.GradY, args.Weight, args.GradX))
        {
            return;
        }

        // Panels of inputs: each sum stays whole, and is rounded once.
        int perPanel = PanelLength(outputs * (long)args.Weight.Type.Size());
        for (int first = 0; first < inputs; first += perPanel)
        {
            int count = Math.Min(perPanel, inputs - first);
            MatrixView weight = TransposedScratch(count, outputs, args.Weight.Type, count, 0);
            Transpose(args.Weight.ColumnRange(first, count), weight);
            Multiply(algorithm, args.GradY, weight, args.GradX.ColumnRange(first, count), args.AddToGradX);
        }
    }

    private void WeightGradient(in LinearBackwardArgs args, LinearAlgorithm algorithm)
    {
        int inputs = args.GradWeight.Columns, outputs = args.GradY.Columns;
        long rows = args.GradY.Rows;
        bool adds = !args.OverwritesGradWeight;
        if (rows == 0)
        {
            Clear(adds ? default : args.GradWeight);
            return;
        }

        RowProduct product = new(outputs, rows, inputs) { XIsTransposed = true, WeightIsTransposed = true, Accumulate = adds };
        if (TryProduct(algorithm, product, args.GradY, args.X, args.GradWeight))
        {
            return;
        }

        // Panels of rows, whose sums are added to the gradient one after the other, in float32 as it is.
        long height = (long)outputs + inputs;
        int perPanel = PanelLength(height * args.X.Type.Size());
        for (long first = 0; first < rows; first += perPanel)
        {
            int count = (int)Math.Min(perPanel, rows - first);
            MatrixView gradY = TransposedScratch(outputs, count, args.X.Type, height, 0);
            MatrixView x = TransposedScratch(inputs, count, args.X.Type, height, outputs);
            Transpose(args.GradY.RowRange(first, count), gradY);
            Transpose(args.X.RowRange(first, count), x);
            Multiply(algorithm, gradY, x, args.GradWeight, accumulate: adds || first > 0);
        }
    }

    private void BiasGradient(in MatrixView gradY, in MatrixView gradBias)
    {
        int columns = gradY.Columns;
        long chunkRows = Math.Max(ColumnSumRows, DivideUp(gradY.Rows, MostColumnSumChunks));
        int chunks = (int)DivideUp(gradY.Rows, chunkRows);
        ColumnSumsParams parameters = new()
        {
            Source = Address(gradY),
            Partial = _scratch.Reserve((long)chunks * columns * sizeof(float)),
            Rows = gradY.Rows,
            SourceStride = gradY.RowStride,
            ChunkRows = checked((int)chunkRows),
            Columns = columns,
        };
        ColumnSumsVariant variant = new(gradY.Type, AreAligned(VectorVariant.Bytes, gradY));
        Dim3 grid = new(DivideUp(columns, ColumnSumLanes * VectorVariant.Bytes / gradY.Type.Size()), chunks);
        Launch(ColumnSumsKernels.Get(_library, variant), grid, BackwardThreads, parameters, pieces: chunks);
        SumPartials(columns, columns, chunks, add: true, (parameters.Partial, gradBias));
    }

    /// <summary>Has cuBLASLt compute a product, where that may be and can be.</summary>
    private bool TryProduct(LinearAlgorithm algorithm, RowProduct product, in MatrixView x, in MatrixView weight, in MatrixView y)
    {
        if (algorithm is not (LinearAlgorithm.Auto or LinearAlgorithm.CublasLt))
        {
            return false;
        }

        CublasLtProduct? chosen = x.Type == weight.Type ? ChosenProduct(product, x, weight, y) : null;
        if (chosen is not null)
        {
            RunProduct(chosen, x, weight, y);
        }

        return chosen is not null;
    }

    /// <summary>y = x weight^T by our own tiles, or that added to y.</summary>
    private void Multiply(LinearAlgorithm algorithm, in MatrixView x, in MatrixView weight, in MatrixView y, bool accumulate)
    {
        LinearForwardArgs args = new() { X = x, Weight = weight, Y = y };
        LinearAlgorithm? wanted = algorithm == LinearAlgorithm.Simt ? algorithm : null;
        LinearVariant variant = ChooseTile(args, maySplit: !_options.BatchInvariant, wanted);
        RunTiles(args, variant.Tile, variant.Splits, accumulate);
    }

    /// <summary>How many columns of so many bytes the scratch of transposed operands has.</summary>
    private int PanelLength(long columnBytes) =>
        (int)Math.Clamp(TransposedBytes / columnBytes / PanelUnit * PanelUnit, PanelUnit, 1 << 20);

    /// <summary>Rows of the scratch of <paramref name="allRows"/>, from <paramref name="firstRow"/> on; each is aligned.</summary>
    private MatrixView TransposedScratch(int rows, int columns, DataType type, long allRows, long firstRow)
    {
        long stride = RoundUp(columns, VectorVariant.Bytes);
        long rowBytes = stride * type.Size();
        _transposedMemory ??= new ScratchMemory(this);
        CudaBuffer memory = new(this, DeviceMemory.Adopt(Context, _transposedMemory.Reserve(allRows * rowBytes), allRows * rowBytes));
        return new MatrixView(memory, firstRow * rowBytes, type, rows, columns, stride);
    }

    private void Transpose(in MatrixView source, in MatrixView destination)
    {
        Dim3 grid = new(checked((int)DivideUp(source.Rows, TransposeSide)), DivideUp(source.Columns, TransposeSide));
        Launch(TransposeKernels.Get(_library, source.Type.Size()), grid, BackwardThreads, new TransposeParams
        {
            Source = Address(source),
            Destination = Address(destination),
            Rows = source.Rows,
            SourceStride = source.RowStride,
            DestinationStride = destination.RowStride,
            Columns = source.Columns,
        });
    }

    private readonly record struct ColumnSumsVariant(DataType Type, bool Aligned)
    {
        public override string ToString() => "sums" + Placed(Aligned);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TransposeParams
    {
        public nint Source;
        public nint Destination;
        public long Rows;
        public long SourceStride;
        public long DestinationStride;
        public int Columns;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ColumnSumsParams
    {
        public nint Source;
        public nint Partial;
        public long Rows;
        public long SourceStride;
        public int ChunkRows;
        public int Columns;
    }
}
