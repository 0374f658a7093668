using System.Numerics;
using System.Runtime.CompilerServices;

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
            float mean = scale * Dot(_gradY.Row(row), _weight.Row(0), _residual.Row(row), _channels) / _channels;

            FloatRows residual = One(_residual, row), gradY = One(_gradY, row), partial = One(_partial, part);
            FloatRows gradResidual = One(_gradResidual, row), gradX = One(_gradX, row), y = One(_y, row);
            int c = 0;
            for (; c <= _channels - Vector<float>.Count; c += Vector<float>.Count)
            {
                Step(residual, _weight, gradY, gradResidual, gradX, partial, y, scale, mean, c, Vector<float>.Count);
            }

            if (c < _channels)
            {
                Step(residual, _weight, gradY, gradResidual, gradX, partial, y, scale, mean, c, _channels - c);
            }
        }

        /// <summary>
        /// One vector of each row. Inlined with a constant number of lanes: a call in the loop would have every register saved around it.
        /// </summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Step(
            FloatRows residual, FloatRows weight, FloatRows gradY, FloatRows gradResidual, FloatRows gradX, FloatRows partial, FloatRows y,
            float scale, float mean, int c, int lanes)
        {
            Vector<float> w = weight.Get(0, c, lanes), grad = gradY.Get(0, c, lanes), normed = residual.Get(0, c, lanes) * scale;
            Vector<float> sum = gradResidual.Get(0, c, lanes) + (((grad * w) - (normed * mean)) * scale);
            gradResidual.Set(0, c, lanes, sum);
            if (!gradX.IsNone)
            {
                gradX.Set(0, c, lanes, sum);
            }

            if (!partial.IsNone)
            {
                partial.Set(0, c, lanes, Vector.FusedMultiplyAdd(grad, normed, partial.Get(0, c, lanes)));
            }

            if (!y.IsNone)
            {
                y.Set(0, c, lanes, normed * w);
            }
        }

        private static FloatRows One(FloatRows rows, long row) => rows.IsNone ? default : new FloatRows(rows.Row(row), 0);

        /// <summary>The sum of g w x over a row.</summary>
        private static float Dot(float* grad, float* weight, float* x, int channels)
        {
            Vector<float> sum = Vector<float>.Zero;
            int c = 0;
            for (; c <= channels - Vector<float>.Count; c += Vector<float>.Count)
            {
                sum = Vector.FusedMultiplyAdd(Vector.Load(grad + c) * Vector.Load(weight + c), Vector.Load(x + c), sum);
            }

            float rest = 0;
            for (; c < channels; c++)
            {
                rest += grad[c] * weight[c] * x[c];
            }

            return rest + Vector.Sum(sum);
        }
    }
}
