using System.Numerics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AddRmsNormBackwardCore(in AddRmsNormBackwardArgs args)
    {
        // The number of rows alone decides where the sum over them is cut, so that the number of threads does not change it.
        const int ShortestBlock = 16, MostBlocks = 256;
        int channels = args.Residual.Columns;
        long perPart = Math.Max(ShortestBlock, (args.Residual.Rows + MostBlocks - 1) / MostBlocks);
        int parts = Parts(args.Residual.Rows, perPart);
        FloatRows partial = default;
        if (!args.GradWeight.IsNone)
        {
            long bytes = (long)parts * channels * sizeof(float);
            HostBuffer scratch = Scratch(bytes);
            new Span<byte>(scratch.Pointer, checked((int)bytes)).Clear();
            partial = new FloatRows((float*)scratch.Pointer, channels);
        }

        AddRmsNormBackwardBody body = new(args, partial, perPart);
        _pool.Run(ref body, parts);
        if (!partial.IsNone)
        {
            ColumnSums sums = new(partial, parts, channels, Floats(args.GradWeight));
            _pool.Run(ref sums, sums.Parts);
        }
    }

    /// <summary>
    /// With r = 1 / sqrt(mean(x^2) + epsilon) and n = x r, the gradient of x is r (g w - n mean(g w n)), and that of the weight the sum of g n.
    /// </summary>
    private readonly struct AddRmsNormBackwardBody(in AddRmsNormBackwardArgs args, FloatRows partial, long rowsPerPart) : IParallelBody
    {
        private readonly FloatRows _residual = Rows(args.Residual);
        private readonly FloatRows _weight = Rows(args.Weight);
        private readonly FloatRows _gradY = Rows(args.GradY);
        private readonly FloatRows _gradResidual = Rows(args.GradResidual);
        private readonly FloatRows _gradX = Rows(args.GradX);
        private readonly FloatRows _y = Rows(args.Y);
        private readonly FloatRows _partial = partial;
        private readonly float _epsilon = args.Epsilon;
        private readonly int _channels = args.Residual.Columns;
        private readonly long _rows = args.Residual.Rows;

        public void Run(int part)
        {
            long end = Math.Min((part + 1) * rowsPerPart, _rows);
            for (long row = part * rowsPerPart; row < end; row++)
            {
                RunRow(row, part);
            }
        }

        private void RunRow(long row, int part)
        {
            // As in the forward pass, to the last bit: y is to be the same again.
            float scale = InverseRms(_residual.Row(row), _channels, _epsilon);
            float mean = scale * Dot(row) / _channels;
            for (int c = 0; c < _channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, _channels - c);
                Vector<float> weight = _weight.Get(0, c, lanes), grad = _gradY.Get(row, c, lanes);
                Vector<float> normed = _residual.Get(row, c, lanes) * scale;
                Vector<float> gradX = ((grad * weight) - (normed * mean)) * scale;
                gradX += _gradResidual.Get(row, c, lanes);
                _gradResidual.Set(row, c, lanes, gradX);
                if (!_gradX.IsNone)
                {
                    _gradX.Set(row, c, lanes, gradX);
                }

                if (!_partial.IsNone)
                {
                    _partial.Set(part, c, lanes, Vector.FusedMultiplyAdd(grad, normed, _partial.Get(part, c, lanes)));
                }

                if (!_y.IsNone)
                {
                    _y.Set(row, c, lanes, normed * weight);
                }
            }
        }

        /// <summary>The sum of g w x over a row.</summary>
        private float Dot(long row)
        {
            Vector<float> sum = Vector<float>.Zero;
            for (int c = 0; c < _channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, _channels - c);
                Vector<float> grad = _gradY.Get(row, c, lanes) * _weight.Get(0, c, lanes);
                sum = Vector.FusedMultiplyAdd(grad, _residual.Get(row, c, lanes), sum);
            }

            return Vector.Sum(sum);
        }
    }
}
