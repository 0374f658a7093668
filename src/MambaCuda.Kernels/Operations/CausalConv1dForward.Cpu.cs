using System.Numerics;
using System.Runtime.CompilerServices;

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
        public const int BlockChannels = 512;
        private const int MaxHistory = 3;

        private readonly CausalConv1dForwardArgs _args = args;

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

            // Narrower kernels are kernels of width 4 whose first rows are zero, so that one walk serves all. Their oldest inputs are kept at
            // zero too: an infinity or NaN must not meet the zero weight.
            Vector<float> w0 = Vector<float>.Zero, w1 = Vector<float>.Zero;
            Vector<float> x0 = Vector<float>.Zero, x1 = Vector<float>.Zero, x2 = Vector<float>.Zero;
            Vector<float> keep0 = history >= MaxHistory ? Vector<float>.AllBitsSet : Vector<float>.Zero;
            Vector<float> keep1 = history >= 2 ? Vector<float>.AllBitsSet : Vector<float>.Zero;
            Vector<float> w2 = Get(_args.Weight, history - 1, channel, lanes), w3 = Get(_args.Weight, history, channel, lanes);
            w1 = history >= 2 ? Get(_args.Weight, history - 2, channel, lanes) : w1;
            w0 = history >= 3 ? Get(_args.Weight, 0, channel, lanes) : w0;
            if (!_args.InitialState.IsNone)
            {
                x2 = Get(_args.InitialState, stateRow + history - 1, channel, lanes);
                x1 = history >= 2 ? Get(_args.InitialState, stateRow + history - 2, channel, lanes) : x1;
                x0 = history >= 3 ? Get(_args.InitialState, stateRow, channel, lanes) : x0;
            }

            Vector<float> bias = _args.Bias.IsNone ? Vector<float>.Zero : Get(_args.Bias, 0, channel, lanes);
            for (long t = start; t < end; t++)
            {
                Vector<float> x3 = Get(_args.X, t, channel, lanes);
                Vector<float> y = Vector.FusedMultiplyAdd(w0, x0, bias);
                y = Vector.FusedMultiplyAdd(w1, x1, y);
                y = Vector.FusedMultiplyAdd(w2, x2, y);
                y = Vector.FusedMultiplyAdd(w3, x3, y);
                Set(_args.Y, t, channel, lanes, _args.Silu ? VectorMath.Silu(y) : y);
                (x0, x1, x2) = (x1 & keep0, x2 & keep1, x3);
            }

            if (!_args.FinalState.IsNone)
            {
                Set(_args.FinalState, stateRow + history - 1, channel, lanes, x2);
                if (history >= 2)
                {
                    Set(_args.FinalState, stateRow + history - 2, channel, lanes, x1);
                }

                if (history >= MaxHistory)
                {
                    Set(_args.FinalState, stateRow, channel, lanes, x0);
                }
            }
        }
    }

    /// <summary>A vector from a row, the lanes past <paramref name="lanes"/> zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> Get(in MatrixView view, long row, int column, int lanes) => Get((float*)Row(view, row) + column, lanes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> Get(float* source, int lanes)
    {
        if (lanes == Vector<float>.Count)
        {
            return Vector.Load(source);
        }

        Vector<float> partial = Vector<float>.Zero;
        new ReadOnlySpan<float>(source, lanes).CopyTo(new Span<float>(&partial, Vector<float>.Count));
        return partial;
    }

    /// <summary>Stores the first <paramref name="lanes"/> lanes of a vector into a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Set(in MatrixView view, long row, int column, int lanes, Vector<float> value) => Set((float*)Row(view, row) + column, lanes, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Set(float* destination, int lanes, Vector<float> value)
    {
        if (lanes == Vector<float>.Count)
        {
            value.Store(destination);
        }
        else
        {
            new ReadOnlySpan<float>(&value, lanes).CopyTo(new Span<float>(destination, lanes));
        }
    }
}
