using System.Numerics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void CrossEntropyCore(in CrossEntropyArgs args)
    {
        for (long row = 0; row < args.Targets.Rows; row++)
        {
            int target = *(int*)Row(args.Targets, row);
            if (target != CrossEntropyArgs.IgnoredTarget && (target < 0 || target >= args.Logits.Columns))
            {
                throw new ArgumentOutOfRangeException(
                    nameof(args), target, $"The target of row {row} is not in the vocabulary of {args.Logits.Columns}.");
            }
        }

        long perPart = ItemsPerPart(args.Logits.Rows, minimum: 1);
        CrossEntropyBody body = new(args, perPart);
        _pool.Run(ref body, Parts(args.Logits.Rows, perPart));
    }

    private readonly struct CrossEntropyBody(in CrossEntropyArgs args, long rowsPerPart) : IParallelBody
    {
        private readonly FloatRows _logits = Rows(args.Logits);
        private readonly FloatRows _losses = Rows(args.Losses);
        private readonly FloatRows _gradLogits = Rows(args.GradLogits);
        private readonly int* _targets = Integers(args.Targets);
        private readonly long _targetStride = args.Targets.RowStride;
        private readonly long _rows = args.Logits.Rows;
        private readonly int _vocabulary = args.Logits.Columns;
        private readonly double _zLossWeight = args.ZLossWeight;
        private readonly double _gradScale = args.GradScale;

        public void Run(int part)
        {
            long end = Math.Min((part + 1) * rowsPerPart, _rows);
            for (long row = part * rowsPerPart; row < end; row++)
            {
                float* gradient = _gradLogits.IsNone ? null : _gradLogits.Row(row);
                int target = _targets[row * _targetStride];
                *_losses.Row(row) = target == CrossEntropyArgs.IgnoredTarget
                    ? Ignore(gradient)
                    : RunRow(_logits.Row(row), target, gradient);
            }
        }

        private float Ignore(float* gradient)
        {
            if (gradient != null)
            {
                new Span<float>(gradient, _vocabulary).Clear();
            }

            return 0;
        }

        private float RunRow(float* logits, int target, float* gradient)
        {
            // The gradient may lie where the logits do: from the sum on, the terms of the softmax stand there.
            double targetLogit = logits[target];
            float largest = Largest(logits, _vocabulary);
            double sum = SumExp(logits, _vocabulary, largest, gradient);
            double normaliser = largest + Math.Log(sum);
            if (gradient != null)
            {
                // The derivative of normaliser + weight * normaliser^2; the target's one is taken off before anything is rounded.
                double factor = _gradScale * (1 + (2 * _zLossWeight * normaliser)) / sum;
                float gradTarget = (float)((gradient[target] * factor) - _gradScale);
                Scale(gradient, (float)factor);
                gradient[target] = gradTarget;
            }

            return (float)(normaliser - targetLogit + (_zLossWeight * normaliser * normaliser));
        }

        private void Scale(float* gradient, float factor)
        {
            int i = 0;
            for (; i <= _vocabulary - Vector<float>.Count; i += Vector<float>.Count)
            {
                (Vector.Load(gradient + i) * factor).Store(gradient + i);
            }

            for (; i < _vocabulary; i++)
            {
                gradient[i] *= factor;
            }
        }
    }
}
