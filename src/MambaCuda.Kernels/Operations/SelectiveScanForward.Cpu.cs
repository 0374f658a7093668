using System.Numerics;
using System.Runtime.CompilerServices;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override int ScanCheckpointSteps => ScanBody.TileSteps;

    /// <inheritdoc/>
    protected override void SelectiveScanForwardCore(in SelectiveScanForwardArgs args)
    {
        ScanBody body = new(args);
        _pool.Run(ref body, checked(body.BlocksPerSequence * args.Sequences.Count));
    }

    /// <summary>
    /// A part is a block of channels of one group of one sequence. Lanes are channels, so the sum over states needs no shuffle; the block's
    /// states stay in a scratch of at most 64 KB, its part of A in another, while time is walked in tiles, so that the rows of a tile are
    /// read from near cache. Complex states and A take two rows each, real and imaginary part, and twice the scratch.
    /// </summary>
    private readonly struct ScanBody : IParallelBody
    {
        private const int BlockChannels = 64;

        /// <summary>Time steps of a tile, and so between two checkpoints.</summary>
        public const int TileSteps = 32;

        private readonly SelectiveScanForwardArgs _args;
        private readonly FloatRows _u;
        private readonly FloatRows _delta;
        private readonly FloatRows _a;
        private readonly FloatRows _aImaginary;
        private readonly FloatRows _b;
        private readonly FloatRows _c;
        private readonly FloatRows _d;
        private readonly FloatRows _z;
        private readonly FloatRows _deltaBias;
        private readonly FloatRows _initialState;
        private readonly FloatRows _finalState;
        private readonly FloatRows _checkpoints;
        private readonly FloatRows _y;
        private readonly int _stateRows;
        private readonly int _groupChannels;
        private readonly int _blocksPerGroup;

        public ScanBody(in SelectiveScanForwardArgs args)
        {
            _args = args;
            _u = Rows(args.U);
            _delta = Rows(args.Delta);
            _a = Rows(args.A);
            _aImaginary = Rows(args.AImaginary);
            _b = Rows(args.B);
            _c = Rows(args.C);
            _d = Rows(args.D);
            _z = Rows(args.Z);
            _deltaBias = Rows(args.DeltaBias);
            _initialState = Rows(args.InitialState);
            _finalState = Rows(args.FinalState);
            _checkpoints = Rows(args.Checkpoints);
            _y = Rows(args.Y);
            _stateRows = args.StateRows;
            int groups = args.Groups;
            _groupChannels = args.U.Columns / groups;
            _blocksPerGroup = CpuBackend.Parts(_groupChannels, BlockChannels);
            BlocksPerSequence = groups * _blocksPerGroup;
        }

        public int BlocksPerSequence { get; }

        // The scratch is written before it is read.
        [SkipLocalsInit]
        public void Run(int part)
        {
            int sequence = part / BlocksPerSequence;
            int group = part % BlocksPerSequence / _blocksPerGroup;
            int first = part % BlocksPerSequence % _blocksPerGroup * BlockChannels;
            int channels = Math.Min(BlockChannels, _groupChannels - first);
            first += group * _groupChannels;

            int scratchSize = _stateRows * BlockChannels;
            float* state = stackalloc float[scratchSize];
            float* a = stackalloc float[scratchSize];
            long stateRow = (long)_args.Sequences.Slots[sequence] * _stateRows;
            for (int c = 0; c < channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, channels - c);
                for (int n = 0; n < _stateRows; n++)
                {
                    Rate(n, first + c, lanes).Store(a + (n * BlockChannels) + c);
                    _initialState.GetOrZero(stateRow + n, first + c, lanes).Store(state + (n * BlockChannels) + c);
                }
            }

            long end = _args.Sequences.Starts[sequence + 1];
            long checkpointRow = _checkpoints.IsNone ? 0 : _args.Sequences.CheckpointStarts(TileSteps)[sequence] * _stateRows;
            for (long tile = _args.Sequences.Starts[sequence]; tile < end; tile += TileSteps, checkpointRow += _stateRows)
            {
                Leave(state, _checkpoints, checkpointRow, first, channels);
                for (int c = 0; c < channels; c += Vector<float>.Count)
                {
                    int lanes = Math.Min(Vector<float>.Count, channels - c);
                    Walk(tile, Math.Min(tile + TileSteps, end), group, first + c, lanes, a + c, state + c);
                }
            }

            Leave(state, _finalState, stateRow, first, channels);
        }

        /// <summary>Copies a block's states to rows of a view, where there is one.</summary>
        private void Leave(float* state, FloatRows destination, long row, int first, int channels)
        {
            for (int n = 0; !destination.IsNone && n < _stateRows; n++)
            {
                new ReadOnlySpan<float>(state + (n * BlockChannels), channels).CopyTo(
                    new Span<float>(destination.Row(row + n) + first, channels));
            }
        }

        // A row of A. exp(delta A) is exp2(delta A log2(e)): the factor is folded in once, but not into a phase.
        private Vector<float> Rate(int row, int channel, int lanes) =>
            _args.IsComplex && row % 2 == 1
                ? _aImaginary.Get(row / 2, channel, lanes)
                : _a.Get(_args.IsComplex ? row / 2 : row, channel, lanes) * VectorMath.Log2E;

        /// <summary>Takes one vector of channels from step <paramref name="start"/> to <paramref name="end"/>.</summary>
        [SkipLocalsInit]
        private void Walk(long start, long end, int group, int channel, int lanes, float* a, float* state)
        {
            int stateSize = (int)_args.A.Rows;
            Vector<float> deltaBias = _deltaBias.GetOrZero(0, channel, lanes);
            Vector<float> d = _d.GetOrZero(0, channel, lanes);
            bool complex = _args.IsComplex, constant = _args.ConstantB || _args.ConstantC;
            Vector<float>* deltas = stackalloc Vector<float>[TileSteps];
            Vector<float>* ys = stackalloc Vector<float>[TileSteps];

            // Three loops: softplus and the gate are long chains, which overlap with each other but not with the walk through the states.
            for (long t = start; t < end; t++)
            {
                Vector<float> delta = _delta.Get(t, channel, lanes) + deltaBias;
                deltas[t - start] = _args.DeltaSoftplus ? VectorMath.Softplus(delta) : delta;
            }

            for (long t = start; t < end; t++)
            {
                Vector<float> u = _u.Get(t, channel, lanes);
                Vector<float> delta = deltas[t - start];
                Vector<float> y = complex
                    ? ComplexStep(t, group, channel, lanes, delta, delta * u, a, state)
                    : constant
                    ? StepWithConstants(t, group, channel, lanes, delta, delta * u, a, state)
                    : Step(_b.Row(t) + (group * stateSize), _c.Row(t) + (group * stateSize), stateSize, delta, delta * u, a, state);
                ys[t - start] = Vector.FusedMultiplyAdd(d, u, y);
            }

            for (long t = start; t < end; t++)
            {
                Vector<float> y = ys[t - start];
                _y.Set(t, channel, lanes, _z.IsNone ? y : y * VectorMath.Silu(_z.Get(t, channel, lanes)));
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector<float> Step(
            float* b, float* c, int stateSize, Vector<float> delta, Vector<float> deltaU, float* a, float* state)
        {
            Vector<float> y = Vector<float>.Zero;
            nint n = 0;
            for (; n <= stateSize - 4; n += 4, a += 4 * BlockChannels, state += 4 * BlockChannels)
            {
                Vector<float> decay0 = delta * Vector.Load(a), decay1 = delta * Vector.Load(a + BlockChannels);
                Vector<float> decay2 = delta * Vector.Load(a + (2 * BlockChannels)), decay3 = delta * Vector.Load(a + (3 * BlockChannels));
                VectorMath.Exp2(ref decay0, ref decay1, ref decay2, ref decay3);
                Vector<float> h0 = Vector.FusedMultiplyAdd(decay0, Vector.Load(state), deltaU * new Vector<float>(b[n]));
                Vector<float> h1 =
                    Vector.FusedMultiplyAdd(decay1, Vector.Load(state + BlockChannels), deltaU * new Vector<float>(b[n + 1]));
                Vector<float> h2 =
                    Vector.FusedMultiplyAdd(decay2, Vector.Load(state + (2 * BlockChannels)), deltaU * new Vector<float>(b[n + 2]));
                Vector<float> h3 =
                    Vector.FusedMultiplyAdd(decay3, Vector.Load(state + (3 * BlockChannels)), deltaU * new Vector<float>(b[n + 3]));
                h0.Store(state);
                h1.Store(state + BlockChannels);
                h2.Store(state + (2 * BlockChannels));
                h3.Store(state + (3 * BlockChannels));
                y = Vector.FusedMultiplyAdd(h0, new Vector<float>(c[n]), y);
                y = Vector.FusedMultiplyAdd(h1, new Vector<float>(c[n + 1]), y);
                y = Vector.FusedMultiplyAdd(h2, new Vector<float>(c[n + 2]), y);
                y = Vector.FusedMultiplyAdd(h3, new Vector<float>(c[n + 3]), y);
            }

            for (; n < stateSize; n++, a += BlockChannels, state += BlockChannels)
            {
                Vector<float> decay = VectorMath.Exp2(delta * Vector.Load(a));
                Vector<float> h = Vector.FusedMultiplyAdd(decay, Vector.Load(state), deltaU * new Vector<float>(b[n]));
                h.Store(state);
                y = Vector.FusedMultiplyAdd(h, new Vector<float>(c[n]), y);
            }

            return y;
        }

        /// <summary>The step of the ablations, whose B or C belongs to the channel and not to the token.</summary>
        private Vector<float> StepWithConstants(
            long t, int group, int channel, int lanes, Vector<float> delta, Vector<float> deltaU, float* a, float* state)
        {
            Vector<float> y = Vector<float>.Zero;
            int stateSize = (int)_args.A.Rows;
            for (int n = 0; n < stateSize; n++, a += BlockChannels, state += BlockChannels)
            {
                Vector<float> b = _args.ConstantB
                    ? _b.Get(n, channel, lanes)
                    : new Vector<float>(_b.Row(t)[(group * stateSize) + n]);
                Vector<float> c = _args.ConstantC
                    ? _c.Get(n, channel, lanes)
                    : new Vector<float>(_c.Row(t)[(group * stateSize) + n]);
                Vector<float> h = Vector.FusedMultiplyAdd(VectorMath.Exp2(delta * Vector.Load(a)), Vector.Load(state), deltaU * b);
                h.Store(state);
                y = Vector.FusedMultiplyAdd(h, c, y);
            }

            return y;
        }

        /// <summary>The step with complex A: 2 Re(sum over states of C h), B and C of the token or of the channel.</summary>
        private Vector<float> ComplexStep(
            long t, int group, int channel, int lanes, Vector<float> delta, Vector<float> deltaU, float* a, float* state)
        {
            Vector<float> y = Vector<float>.Zero;
            for (int n = 0; n < _stateRows; n += 2, a += 2 * BlockChannels, state += 2 * BlockChannels)
            {
                Vector<float> bReal = Part(_b, _args.ConstantB, t, group, n, channel, lanes);
                Vector<float> bImaginary = Part(_b, _args.ConstantB, t, group, n + 1, channel, lanes);
                Vector<float> size = VectorMath.Exp2(delta * Vector.Load(a));
                (Vector<float> sine, Vector<float> cosine) = VectorMath.SinCos(delta * Vector.Load(a + BlockChannels));
                Vector<float> decayReal = size * cosine, decayImaginary = size * sine;
                Vector<float> hReal = Vector.Load(state), hImaginary = Vector.Load(state + BlockChannels);
                Vector<float> real = Vector.FusedMultiplyAdd(
                    decayReal, hReal, Vector.FusedMultiplyAdd(-decayImaginary, hImaginary, deltaU * bReal));
                Vector<float> imaginary = Vector.FusedMultiplyAdd(
                    decayReal, hImaginary, Vector.FusedMultiplyAdd(decayImaginary, hReal, deltaU * bImaginary));
                real.Store(state);
                imaginary.Store(state + BlockChannels);
                y = Vector.FusedMultiplyAdd(real, Part(_c, _args.ConstantC, t, group, n, channel, lanes), y);
                y = Vector.FusedMultiplyAdd(-imaginary, Part(_c, _args.ConstantC, t, group, n + 1, channel, lanes), y);
            }

            return y + y;
        }

        /// <summary>A part of a complex number of B or C: a row of channels where constant, else a column of a token's row.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private Vector<float> Part(FloatRows matrix, bool constant, long t, int group, int part, int channel, int lanes) =>
            constant ? matrix.Get(part, channel, lanes) : new Vector<float>(matrix.Row(t)[(group * _stateRows) + part]);
    }
}
