using System.Numerics;
using System.Runtime.CompilerServices;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AdamWCore(in AdamWArgs args)
    {
        double gradScale = args.GradientScale;
        if (!args.GradientNorm.IsNone)
        {
            float norm = *Floats(args.GradientNorm);
            if (!float.IsFinite(norm))
            {
                return;
            }

            // As torch.nn.utils.clip_grad_norm_ has it, the small number included.
            gradScale *= Math.Min(1, args.MaxGradientNorm / ((norm * gradScale) + 1e-6));
        }

        long count = args.Parameters.Rows * args.Parameters.Columns;
        long blocks = (count + AdamWBody.BlockLength - 1) / AdamWBody.BlockLength;
        long perPart = ItemsPerPart(blocks, minimum: 8);
        AdamWFactors factors = args.Factors.IsNone ? AdamWFactors.Of(args) : *(AdamWFactors*)Floats(args.Factors);
        AdamWBody body = new(args, factors, (float)gradScale, count, perPart);
        _pool.Run(ref body, Parts(blocks, perPart));
    }

    /// <summary>
    /// Blocks that stay in the first-level cache until they are rounded. The factors of the step are computed in float64, as PyTorch's are;
    /// the parameters and their moments are read and written once.
    /// </summary>
    private readonly struct AdamWBody(in AdamWArgs args, AdamWFactors factors, float gradScale, long count, long blocksPerPart) : IParallelBody
    {
        public const int BlockLength = 1024;

        private readonly FloatRows _parameters = Rows(args.Parameters);
        private readonly FloatRows _gradients = Rows(args.Gradients);
        private readonly FloatRows _firstMoment = Rows(args.FirstMoment);
        private readonly FloatRows _secondMoment = Rows(args.SecondMoment);
        private readonly byte* _rounded = Pointer(args.Rounded);
        private readonly DataType _roundedType = args.Rounded.Type;
        private readonly float _keep = factors.Keep;
        private readonly float _firstShare = (float)(1 - (double)args.Beta1);
        private readonly float _beta2 = args.Beta2;
        private readonly float _secondShare = (float)(1 - (double)args.Beta2);
        private readonly float _stepSize = factors.StepSize;
        private readonly float _rootCorrection = factors.RootCorrection;
        private readonly float _epsilon = args.Epsilon;

        public void Run(int part)
        {
            long first = part * blocksPerPart * BlockLength, end = Math.Min(first + (blocksPerPart * BlockLength), count);
            for (; first < end; first += BlockLength)
            {
                int length = (int)Math.Min(BlockLength, end - first);
                Step(first, length);
                if (_rounded != null)
                {
                    NarrowedFloats.Store(
                        _parameters.Row(0) + first, _roundedType, _rounded + (first * _roundedType.Size()), length);
                }
            }
        }

        private void Step(long first, int length)
        {
            FloatRows parameters = From(_parameters, first), gradients = From(_gradients, first);
            FloatRows firstMoment = From(_firstMoment, first), secondMoment = From(_secondMoment, first);
            int i = 0;
            for (; i <= length - Vector<float>.Count; i += Vector<float>.Count)
            {
                Step(parameters, gradients, firstMoment, secondMoment, i, Vector<float>.Count);
            }

            if (i < length)
            {
                Step(parameters, gradients, firstMoment, secondMoment, i, length - i);
            }
        }

        /// <summary>Inlined with a constant number of lanes: a call in the loop would have every register saved around it.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private void Step(FloatRows parameters, FloatRows gradients, FloatRows firstMoment, FloatRows secondMoment, int i, int lanes)
        {
            Vector<float> gradient = gradients.Get(0, i, lanes) * gradScale;
            Vector<float> m = firstMoment.Get(0, i, lanes), v = secondMoment.Get(0, i, lanes);
            m = Vector.FusedMultiplyAdd(gradient - m, new Vector<float>(_firstShare), m);
            v = Vector.FusedMultiplyAdd(gradient * _secondShare, gradient, v * _beta2);
            Vector<float> root = Vector.FusedMultiplyAdd(
                Vector.SquareRoot(v), new Vector<float>(_rootCorrection), new Vector<float>(_epsilon));
            Vector<float> decayed = parameters.Get(0, i, lanes) * _keep;
            parameters.Set(0, i, lanes, decayed - (m / root * _stepSize));
            firstMoment.Set(0, i, lanes, m);
            secondMoment.Set(0, i, lanes, v);
        }

        private static FloatRows From(FloatRows rows, long first) => new(rows.Row(0) + first, 0);
    }
}
