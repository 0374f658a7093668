using System.Numerics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void CausalConv1dForwardCore(in CausalConv1dForwardArgs args)
    {
        // A block of channels walks one whole sequence, so the state is read and left by one thread.
        int block = ConvBody.BlockChannels;
        ConvBody body = new(args, Parts(args.X.Columns, block));
        _pool.Run(ref body, checked(body.BlocksPerSequence * args.Sequences.Count));
    }

    private readonly struct ConvBody(in CausalConv1dForwardArgs args, int blocksPerSequence) : IParallelBody
    {
        public const int BlockChannels = 256;
        private const int MaxHistory = 3;

        private readonly CausalConv1dForwardArgs _args = args;
        private readonly FloatRows _x = Rows(args.X);
        private readonly FloatRows _weight = Rows(args.Weight);
        private readonly FloatRows _bias = Rows(args.Bias);
        private readonly FloatRows _initialState = Rows(args.InitialState);
        private readonly FloatRows _finalState = Rows(args.FinalState);
        private readonly FloatRows _y = Rows(args.Y);

        public int BlocksPerSequence => blocksPerSequence;

        public void Run(int part)
        {
            int sequence = part / blocksPerSequence;
            int first = part % blocksPerSequence * BlockChannels;
            int end = Math.Min(first + BlockChannels, _args.X.Columns);
            int c = first;
            for (; c <= end - Vector<float>.Count; c += Vector<float>.Count)
            {
                Walk(sequence, c, Vector<float>.Count);
            }

            if (c < end)
            {
                Walk(sequence, c, end - c);
            }
        }

        /// <summary>Walks a sequence with the last inputs of one vector of channels in registers.</summary>
        private void Walk(int sequence, int channel, int lanes)
        {
            int history = (int)_args.Weight.Rows - 1;
            long start = _args.Sequences.Starts[sequence], end = _args.Sequences.Starts[sequence + 1];
            long stateRow = (long)_args.Sequences.Slots[sequence] * history;

            // Narrower kernels are kernels of width 4 whose first rows are zero, so that one walk serves all. Their oldest inputs are kept
            // at zero too: an infinity or NaN must not meet the zero weight.
            Vector<float> w0 = Vector<float>.Zero, w1 = Vector<float>.Zero;
            Vector<float> x0 = Vector<float>.Zero, x1 = Vector<float>.Zero, x2 = Vector<float>.Zero;
            Vector<float> keep0 = history >= MaxHistory ? Vector<float>.AllBitsSet : Vector<float>.Zero;
            Vector<float> keep1 = history >= 2 ? Vector<float>.AllBitsSet : Vector<float>.Zero;
            Vector<float> w2 = _weight.Get(history - 1, channel, lanes), w3 = _weight.Get(history, channel, lanes);
            w1 = history >= 2 ? _weight.Get(history - 2, channel, lanes) : w1;
            w0 = history >= 3 ? _weight.Get(0, channel, lanes) : w0;
            if (!_initialState.IsNone)
            {
                x2 = _initialState.Get(stateRow + history - 1, channel, lanes);
                x1 = history >= 2 ? _initialState.Get(stateRow + history - 2, channel, lanes) : x1;
                x0 = history >= 3 ? _initialState.Get(stateRow, channel, lanes) : x0;
            }

            Vector<float> bias = _bias.GetOrZero(0, channel, lanes);
            for (long t = start; t < end; t++)
            {
                Vector<float> x3 = _x.Get(t, channel, lanes);
                Vector<float> y = Vector.FusedMultiplyAdd(w0, x0, bias);
                y = Vector.FusedMultiplyAdd(w1, x1, y);
                y = Vector.FusedMultiplyAdd(w2, x2, y);
                y = Vector.FusedMultiplyAdd(w3, x3, y);
                _y.Set(t, channel, lanes, _args.Silu ? VectorMath.Silu(y) : y);
                (x0, x1, x2) = (x1 & keep0, x2 & keep1, x3);
            }

            if (!_finalState.IsNone)
            {
                _finalState.Set(stateRow + history - 1, channel, lanes, x2);
                if (history >= 2)
                {
                    _finalState.Set(stateRow + history - 2, channel, lanes, x1);
                }

                if (history >= MaxHistory)
                {
                    _finalState.Set(stateRow, channel, lanes, x0);
                }
            }
        }
    }
}
