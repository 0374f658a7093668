using System.Runtime.Intrinsics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void LinearForwardCore(in LinearForwardArgs args)
    {
        if (args.Weight.IsQuantized)
        {
            QuantizedLinearBody body = new(args, _pool.Threads);
            _pool.Run(ref body, body.Parts);
            return;
        }

        Multiply(args, accumulate: false);
    }

    /// <summary>The product; added to what y holds where asked, and then without a bias.</summary>
    private void Multiply(in LinearForwardArgs args, bool accumulate)
    {
        LinearBody body = new(args, _pool.Threads, accumulate);
        _pool.Run(ref body, body.Parts);
    }

    /// <summary>A part is a block of the weight's rows by a block of x's rows.</summary>
    private readonly struct LinearBody : IParallelBody, IStoredBody
    {
        /// <summary>A block of the weight that leaves room in a second-level cache of 512 KB.</summary>
        private const long BlockBytes = 256 << 10;

        /// <summary>Less is not worth handing to another thread.</summary>
        private const long MinimumBlockBytes = 16 << 10;

        /// <summary>
        /// A block of x that leaves room in a second-level cache of 512 KB, on not many more pages than the processor keeps translations of.
        /// </summary>
        private const long RowBlockBytes = 288 << 10;

        private readonly LinearForwardArgs _args;
        private readonly bool _accumulate;
        private readonly long _rowsPerPart;
        private readonly long _outputsPerPart;
        private readonly int _outputParts;

        public LinearBody(in LinearForwardArgs args, int threads, bool accumulate)
        {
            _args = args;
            _accumulate = accumulate;
            long outputs = args.Weight.Matrix.Rows;
            long outputBytes = Math.Max(1L, (long)args.Weight.Matrix.Columns * args.Weight.Matrix.Type.Size());
            if (args.X.Rows >= DotProducts.ManyRows)
            {
                // Blocks of equal height, and enough parts that a thread that is held up is not waited for with a large one.
                long fitting = RowBlockBytes / (sizeof(float) * Math.Max(1L, args.X.Columns));
                long most = Math.Clamp(fitting, DotProducts.TileRows, DotProducts.MostRows);
                int rowParts = CpuBackend.Parts(args.X.Rows, most / DotProducts.TileRows * DotProducts.TileRows);
                _rowsPerPart = RoundUp((args.X.Rows + rowParts - 1) / rowParts, DotProducts.TileRows);
                int outputParts = CpuBackend.Parts(12 * threads, rowParts);
                _outputsPerPart = RoundUp((outputs + outputParts - 1) / outputParts, 4);
            }
            else
            {
                long least = Math.Max(4, MinimumBlockBytes / outputBytes), most = Math.Max(4, BlockBytes / outputBytes);
                _outputsPerPart = RoundUp(Math.Clamp((outputs + (4 * threads) - 1) / (4 * threads), least, most), 4);
                _rowsPerPart = DotProducts.ManyRows;
            }

            _outputParts = CpuBackend.Parts(outputs, _outputsPerPart);
            Parts = _outputParts * CpuBackend.Parts(args.X.Rows, _rowsPerPart);
        }

        public int Parts { get; }

        public void Run(int part) => StoredFloats.Run(_args.Weight.Matrix.Type, this, part);

        private static long RoundUp(long value, long multiple) => (value + multiple - 1) / multiple * multiple;

        public void Run<TStored>(int part) where TStored : struct, IStoredFloat
        {
            long firstOutput = part % _outputParts * _outputsPerPart;
            long firstRow = part / _outputParts * _rowsPerPart;
            float* x = (float*)CpuBackend.Row(_args.X, firstRow);
            float* y = (float*)CpuBackend.Row(_args.Y, firstRow) + firstOutput;
            float* bias = _accumulate ? y : _args.Bias.IsNone ? null : Floats(_args.Bias) + firstOutput;
            long biasStride = _accumulate ? _args.Y.RowStride : 0;
            byte* weight = CpuBackend.Row(_args.Weight.Matrix, firstOutput);
            int rows = (int)Math.Min(_rowsPerPart, _args.X.Rows - firstRow);
            int outputs = (int)Math.Min(_outputsPerPart, _args.Weight.Matrix.Rows - firstOutput);
            long weightStride = _args.Weight.Matrix.RowStride * TStored.Size;
            if (Vector512.IsHardwareAccelerated)
            {
                DotProducts<Width512, Vector512<float>, TStored>.Run(
                    x, _args.X.RowStride, rows, weight, weightStride, outputs, _args.X.Columns, bias, y, _args.Y.RowStride,
                    biasStride);
            }
            else
            {
                DotProducts<Width256, Vector256<float>, TStored>.Run(
                    x, _args.X.RowStride, rows, weight, weightStride, outputs, _args.X.Columns, bias, y, _args.Y.RowStride,
                    biasStride);
            }
        }
    }

    /// <summary>A part is a block of the quantized weight's rows by a block of x's rows.</summary>
    private readonly struct QuantizedLinearBody : IParallelBody
    {
        /// <summary>Less is not worth handing to another thread.</summary>
        private const long MinimumBlockBytes = 8 << 10;

        /// <summary>A block of x that leaves room in a second-level cache of 512 KB beside four rows of weights.</summary>
        private const long RowBlockBytes = 256 << 10;

        private readonly LinearForwardArgs _args;
        private readonly int _rowsPerPart;
        private readonly int _outputsPerPart;
        private readonly int _outputParts;

        public QuantizedLinearBody(in LinearForwardArgs args, int threads)
        {
            _args = args;
            int outputs = checked((int)args.Weight.Rows);
            long fitting = RowBlockBytes / (sizeof(float) * Math.Max(1L, args.X.Columns));
            _rowsPerPart = (int)Math.Clamp(fitting / DotProducts.TileRows * DotProducts.TileRows, 2 * DotProducts.TileRows, DotProducts.MostRows);
            long least = MinimumBlockBytes / Math.Max(1L, args.Weight.Quantized.Layout.RowBytes);
            long wanted = Math.Max(least, (outputs + (4L * threads) - 1) / (4L * threads));
            _outputsPerPart = (int)((Math.Max(wanted, 1) + 3) / 4 * 4);
            _outputParts = CpuBackend.Parts(outputs, _outputsPerPart);
            Parts = _outputParts * CpuBackend.Parts(args.X.Rows, _rowsPerPart);
        }

        public int Parts { get; }

        public void Run(int part)
        {
            if (_args.Weight.Quantized.Layout.Type == QuantizedType.Int8)
            {
                Run<Int8Numbers>(part);
            }
            else
            {
                Run<Int4Numbers>(part);
            }
        }

        private void Run<TNumbers>(int part) where TNumbers : struct, IQuantizedNumbers
        {
            QuantizedView quantized = _args.Weight.Quantized;
            int firstOutput = part % _outputParts * _outputsPerPart;
            long firstRow = (long)(part / _outputParts) * _rowsPerPart;
            int rows = (int)Math.Min(_rowsPerPart, _args.X.Rows - firstRow);
            int outputs = (int)Math.Min(_outputsPerPart, quantized.Rows - firstOutput);
            float* x = (float*)CpuBackend.Row(_args.X, firstRow);
            float* y = (float*)CpuBackend.Row(_args.Y, firstRow) + firstOutput;
            float* bias = _args.Bias.IsNone ? null : Floats(_args.Bias) + firstOutput;
            QuantizedRows weight = new(
                CpuBackend.Row(quantized.Values, firstOutput), quantized.Values.RowStride, (ushort*)CpuBackend.Row(quantized.Scales, firstOutput),
                quantized.Scales.RowStride, quantized.Layout);
            if (Vector512.IsHardwareAccelerated)
            {
                QuantizedDotProducts<Width512, Vector512<float>, TNumbers>.Run(
                    x, _args.X.RowStride, rows, weight, outputs, _args.X.Columns, bias, y, _args.Y.RowStride);
            }
            else
            {
                QuantizedDotProducts<Width256, Vector256<float>, TNumbers>.Run(
                    x, _args.X.RowStride, rows, weight, outputs, _args.X.Columns, bias, y, _args.Y.RowStride);
            }
        }
    }
}
