using System.Numerics;
using System.Runtime.CompilerServices;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void CausalConv1dBackwardCore(in CausalConv1dBackwardArgs args)
    {
        ConvBackwardBody body = new(args);
        body.Sums = new FloatRows((float*)Scratch(body.SumRows * args.Forward.X.Columns * sizeof(float)).Pointer, args.Forward.X.Columns);
        _pool.Run(ref body, body.Parts);
        int width = (int)args.Forward.Weight.Rows, columns = args.Forward.X.Columns;
        AddPartials(body.Sums, width + 1, body.Shards, args.GradWeight, add: true);
        AddPartials(new FloatRows(body.Sums.Row(width), columns), width + 1, body.Shards, args.GradBias, add: true);
    }

    /// <summary>
    /// Lanes are channels. A sequence is walked forward in time, as in the forward pass: with g the gradient before SiLU, token t adds
    /// weight[k] g to the gradients of the inputs t - width + 1 + k, which are complete, and leave the registers, when t is past them. A
    /// part is a block of channels for a shard of the sequences; shards are cut by the number of sequences alone, so that no sum depends on
    /// that of threads.
    /// </summary>
    private struct ConvBackwardBody : IParallelBody
    {
        private const int BlockChannels = 64;
        private const int MostShards = 8;
        private const int MaxHistory = 3;

        /// <summary>Tokens that one vector of channels is taken through before the next: their cache lines are shared with it.</summary>
        private const int TileSteps = 64;

        private readonly CausalConv1dForwardArgs _forward;
        private readonly int _history;
        private readonly int _blocks;
        private readonly FloatRows _x;
        private readonly FloatRows _weight;
        private readonly FloatRows _bias;
        private readonly FloatRows _initialState;
        private readonly FloatRows _gradY;
        private readonly FloatRows _moreGradY;
        private readonly FloatRows _gradX;
        private readonly FloatRows _gradFinalState;
        private readonly FloatRows _gradInitialState;

        public ConvBackwardBody(in CausalConv1dBackwardArgs args)
        {
            _forward = args.Forward;
            _history = (int)_forward.Weight.Rows - 1;
            _blocks = CpuBackend.Parts(_forward.X.Columns, BlockChannels);
            _x = Rows(_forward.X);
            _weight = Rows(_forward.Weight);
            _bias = Rows(_forward.Bias);
            _initialState = Rows(_forward.InitialState);
            _gradY = Rows(args.GradY);
            _moreGradY = Rows(args.MoreGradY);
            _gradX = Rows(args.GradX);
            _gradFinalState = Rows(args.GradFinalState);
            _gradInitialState = Rows(args.GradInitialState);
            Shards = Math.Min(_forward.Sequences.Count, MostShards);
        }

        public int Shards { get; }

        public readonly int Parts => checked(Shards * _blocks);

        /// <summary>Rows of the sums over tokens: for each shard those of the kernel, and the bias.</summary>
        public readonly long SumRows => Shards * (_history + 2L);

        /// <summary>Where the shards leave them.</summary>
        public FloatRows Sums { get; set; }

        // The scratch is written before it is read.
        [SkipLocalsInit]
        public readonly void Run(int part)
        {
            int shard = part / _blocks;
            int first = part % _blocks * BlockChannels;
            int channels = Math.Min(BlockChannels, _forward.X.Columns - first);
            Lanes* block = stackalloc Lanes[BlockChannels / Vector<float>.Count];
            for (int c = 0; c < channels; c += Vector<float>.Count)
            {
                block[c / Vector<float>.Count] = default;
            }

            int end = FirstSequence(shard + 1);
            for (int sequence = FirstSequence(shard); sequence < end; sequence++)
            {
                long last = _forward.Sequences.Starts[sequence + 1];
                for (long tile = _forward.Sequences.Starts[sequence]; tile < last; tile += TileSteps)
                {
                    for (int c = 0; c < channels; c += Vector<float>.Count)
                    {
                        int lanes = Math.Min(Vector<float>.Count, channels - c);
                        Walk(ref block[c / Vector<float>.Count], sequence, tile, Math.Min(tile + TileSteps, last), first + c, lanes);
                    }
                }
            }

            for (int c = 0; c < channels; c += Vector<float>.Count)
            {
                Leave(block[c / Vector<float>.Count], shard, first + c, Math.Min(Vector<float>.Count, channels - c));
            }
        }

        private readonly int FirstSequence(int shard) => (int)((long)_forward.Sequences.Count * shard / Shards);

        /// <summary>
        /// Takes one vector of channels from one token to another of a sequence. Narrower kernels are kernels of width 4 whose first rows
        /// are zero, as in the forward pass, and neither an input nor a gradient that is infinite or NaN must meet those.
        /// </summary>
        private readonly void Walk(ref Lanes walked, int sequence, long from, long to, int channel, int lanes)
        {
            long start = _forward.Sequences.Starts[sequence], end = _forward.Sequences.Starts[sequence + 1];
            Lanes at = walked;
            if (from == start)
            {
                (at.G0, at.G1, at.G2) = (Vector<float>.Zero, Vector<float>.Zero, Vector<float>.Zero);
                at.X2 = State(_initialState, sequence, 1, channel, lanes);
                at.X1 = State(_initialState, sequence, 2, channel, lanes);
                at.X0 = State(_initialState, sequence, 3, channel, lanes);
                at.F2 = State(_gradFinalState, sequence, 1, channel, lanes);
                at.F1 = State(_gradFinalState, sequence, 2, channel, lanes);
                at.F0 = State(_gradFinalState, sequence, 3, channel, lanes);
            }

            Vector<float> keep0 = _history >= MaxHistory ? Vector<float>.AllBitsSet : Vector<float>.Zero;
            Vector<float> keep1 = _history >= 2 ? Vector<float>.AllBitsSet : Vector<float>.Zero;
            Vector<float> w0 = _history >= MaxHistory ? _weight.Get(0, channel, lanes) : Vector<float>.Zero;
            Vector<float> w1 = _history >= 2 ? _weight.Get(_history - 2, channel, lanes) : Vector<float>.Zero;
            Vector<float> w2 = _weight.Get(_history - 1, channel, lanes), w3 = _weight.Get(_history, channel, lanes);
            Vector<float> bias = _bias.GetOrZero(0, channel, lanes);
            for (long t = from; t < to; t++)
            {
                Vector<float> x3 = _x.Get(t, channel, lanes);
                Vector<float> g = _gradY.Get(t, channel, lanes);
                g = _moreGradY.IsNone ? g : g + _moreGradY.Get(t, channel, lanes);
                if (_forward.Silu)
                {
                    Vector<float> y = Vector.FusedMultiplyAdd(w0, at.X0, bias);
                    y = Vector.FusedMultiplyAdd(w1, at.X1, y);
                    y = Vector.FusedMultiplyAdd(w2, at.X2, y);
                    y = Vector.FusedMultiplyAdd(w3, x3, y);
                    g *= VectorMath.SiluSlope(y);
                }

                at.Bias += g;
                at.W0 = Vector.FusedMultiplyAdd(g, at.X0, at.W0);
                at.W1 = Vector.FusedMultiplyAdd(g, at.X1, at.W1);
                at.W2 = Vector.FusedMultiplyAdd(g, at.X2, at.W2);
                at.W3 = Vector.FusedMultiplyAdd(g, x3, at.W3);
                SetGradient(t - MaxHistory, start, sequence, channel, lanes, Vector.FusedMultiplyAdd(w0, g & keep0, at.G0));
                at.G0 = Vector.FusedMultiplyAdd(w1, g & keep1, at.G1);
                at.G1 = Vector.FusedMultiplyAdd(w2, g, at.G2);
                at.G2 = w3 * g;
                (at.X0, at.X1, at.X2) = (at.X1 & keep0, at.X2 & keep1, x3);
            }

            if (to == end)
            {
                // The last inputs are also the final state.
                SetGradient(end - 3, start, sequence, channel, lanes, at.G0 + at.F0);
                SetGradient(end - 2, start, sequence, channel, lanes, at.G1 + at.F1);
                SetGradient(end - 1, start, sequence, channel, lanes, at.G2 + at.F2);
            }

            walked = at;
        }

        /// <summary>Leaves the gradient of an input: a token's, the state's, or none where the kernel does not reach so far.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly void SetGradient(long token, long start, int sequence, int channel, int lanes, Vector<float> gradient)
        {
            if (token >= start)
            {
                if (!_gradX.IsNone)
                {
                    _gradX.Set(token, channel, lanes, gradient);
                }
            }
            else if (!_gradInitialState.IsNone && start - token <= _history)
            {
                long row = ((_forward.Sequences.Slots[sequence] + 1L) * _history) - (start - token);
                _gradInitialState.Set(row, channel, lanes, gradient);
            }
        }

        /// <summary>The row of a state that is <paramref name="back"/> before its end; zeros where there is none.</summary>
        private readonly Vector<float> State(FloatRows state, int sequence, int back, int channel, int lanes) => back > _history
            ? Vector<float>.Zero
            : state.GetOrZero(((_forward.Sequences.Slots[sequence] + 1L) * _history) - back, channel, lanes);

        /// <summary>Leaves the sums over the tokens of a shard.</summary>
        private readonly void Leave(in Lanes at, int shard, int channel, int lanes)
        {
            long row = shard * (_history + 2L);
            if (_history >= MaxHistory)
            {
                Sums.Set(row, channel, lanes, at.W0);
            }

            if (_history >= 2)
            {
                Sums.Set(row + _history - 2, channel, lanes, at.W1);
            }

            Sums.Set(row + _history - 1, channel, lanes, at.W2);
            Sums.Set(row + _history, channel, lanes, at.W3);
            Sums.Set(row + _history + 1, channel, lanes, at.Bias);
        }

        /// <summary>
        /// What a walk holds of one vector of channels: the last inputs X, their gradients G as far as they are known, the gradients F of
        /// the final state, and the gradients of the kernel and the bias.
        /// </summary>
        private struct Lanes
        {
            public Vector<float> X0, X1, X2, G0, G1, G2, F0, F1, F2, W0, W1, W2, W3, Bias;
        }
    }
}
