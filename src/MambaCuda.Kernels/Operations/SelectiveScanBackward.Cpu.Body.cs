using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <summary>How the walk reads B or C: as one number for all channels, or as a vector of them where it is constant.</summary>
    private interface IScanInput
    {
        static abstract Vector<float> Get(float* values, nint n);
    }

    private readonly struct PerToken : IScanInput
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector<float> Get(float* values, nint n) => new(values[n]);
    }

    private readonly struct PerChannel : IScanInput
    {
        // Its gradient lies between.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector<float> Get(float* values, nint n) => Vector.Load(values + (n * 2 * Vector<float>.Count));
    }

    /// <summary>
    /// Lanes are channels, as in the forward pass. A sequence is walked in chunks from the last to the first: a chunk's states and decays
    /// are computed again from its checkpoint, then the gradient of the state is led back through them,
    /// <code>
    /// g = gy silu(z)    dh += g C    gC = sum of g h    gB = sum of dh d u    gA += dh decay h' d
    /// gu = g D + d sum of dh B    gd = u sum of dh B + sum of dh decay h' A    dh = decay dh
    /// </code>
    /// with d = softplus(delta + bias), h' the state before the step, and sums over channels in gB and gC, over states in gu and gd. What
    /// belongs to a token is read before any of it is written, a chunk and vector at a time, so a gradient may lie over its operand.
    /// </summary>
    private readonly struct ScanBackwardBody : IParallelBody
    {
        private const int Steps = ScanBody.TileSteps;
        private const float Ln2 = 0.693147181f;

        private readonly SelectiveScanForwardArgs _forward;
        private readonly ScanBackwardParts _parts;
        private readonly ScanBackwardSums _sums;
        private readonly FloatRows _u;
        private readonly FloatRows _delta;
        private readonly FloatRows _a;
        private readonly FloatRows _b;
        private readonly FloatRows _c;
        private readonly FloatRows _d;
        private readonly FloatRows _z;
        private readonly FloatRows _deltaBias;
        private readonly FloatRows _checkpoints;
        private readonly FloatRows _y;
        private readonly FloatRows _gradY;
        private readonly FloatRows _gradFinalState;
        private readonly FloatRows _gradU;
        private readonly FloatRows _gradDelta;
        private readonly FloatRows _gradZ;
        private readonly FloatRows _gradInitialState;

        public ScanBackwardBody(in SelectiveScanBackwardArgs args, in ScanBackwardParts parts, in ScanBackwardSums sums)
        {
            _forward = args.Forward;
            _parts = parts;
            _sums = sums;
            _u = Rows(_forward.U);
            _delta = Rows(_forward.Delta);
            _a = Rows(_forward.A);
            _b = Rows(_forward.B);
            _c = Rows(_forward.C);
            _d = Rows(_forward.D);
            _z = Rows(_forward.Z);
            _deltaBias = Rows(_forward.DeltaBias);
            _checkpoints = Rows(_forward.Checkpoints);
            _y = Rows(_forward.Y);
            _gradY = Rows(args.GradY);
            _gradFinalState = Rows(args.GradFinalState);
            _gradU = Rows(args.GradU);
            _gradDelta = Rows(args.GradDelta);
            _gradZ = Rows(args.GradZ);
            _gradInitialState = Rows(args.GradInitialState);
        }

        public void Run(int part)
        {
            int range = part % _parts.Ranges;
            int group = part / _parts.Ranges % _parts.Groups;
            int shard = part / _parts.Ranges / _parts.Groups;
            using Workspace work = new((int)_forward.A.Rows);
            for (int block = _parts.FirstBlock(range); block < _parts.FirstBlock(range + 1); block++)
            {
                int first = block * ScanBackwardParts.BlockChannels;
                int channels = Math.Min(ScanBackwardParts.BlockChannels, _parts.GroupChannels - first);
                Block place = new(range, group, shard, (group * _parts.GroupChannels) + first, channels);
                Begin(place, work);
                for (int sequence = _parts.FirstSequence(shard); sequence < _parts.FirstSequence(shard + 1); sequence++)
                {
                    WalkSequence(place, work, sequence, isFirstBlock: block == _parts.FirstBlock(range));
                }

                Leave(place, work);
            }
        }

        /// <summary>Reads a block's parameters and starts its sums over tokens.</summary>
        private void Begin(in Block block, Workspace work)
        {
            for (int c = 0; c < block.Channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, block.Channels - c);
                for (int n = 0; n < work.StateSize; n++)
                {
                    (_a.Get(n, block.First + c, lanes) * VectorMath.Log2E).Store(work.A(c, n));
                    Vector<float>.Zero.Store(work.GradA(c, n));
                    if (_forward.ConstantB)
                    {
                        _b.Get(n, block.First + c, lanes).Store(work.B(c, n));
                        Vector<float>.Zero.Store(work.GradB(c, n));
                    }

                    if (_forward.ConstantC)
                    {
                        _c.Get(n, block.First + c, lanes).Store(work.C(c, n));
                        Vector<float>.Zero.Store(work.GradC(c, n));
                    }
                }

                Vector<float>.Zero.Store(work.GradD(c));
                Vector<float>.Zero.Store(work.GradDeltaBias(c));
            }
        }

        /// <summary>Leaves a block's sums over the tokens of its shard.</summary>
        private void Leave(in Block block, Workspace work)
        {
            long row = block.Shard * _sums.ParameterRows;
            for (int c = 0; c < block.Channels; c += Vector<float>.Count)
            {
                int channel = block.First + c, lanes = Math.Min(Vector<float>.Count, block.Channels - c);
                for (int n = 0; n < work.StateSize; n++)
                {
                    _sums.OfA.Set(row + n, channel, lanes, Vector.Load(work.GradA(c, n)));
                    if (_forward.ConstantB)
                    {
                        _sums.OfConstantB.Set(row + n, channel, lanes, Vector.Load(work.GradB(c, n)));
                    }

                    if (_forward.ConstantC)
                    {
                        _sums.OfConstantC.Set(row + n, channel, lanes, Vector.Load(work.GradC(c, n)));
                    }
                }

                _sums.OfD.Set(row, channel, lanes, Vector.Load(work.GradD(c)));
                _sums.OfDeltaBias.Set(row, channel, lanes, Vector.Load(work.GradDeltaBias(c)));
            }
        }

        private void WalkSequence(in Block block, Workspace work, int sequence, bool isFirstBlock)
        {
            int stateSize = work.StateSize;
            long stateRow = (long)_forward.Sequences.Slots[sequence] * stateSize;
            for (int c = 0; c < block.Channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, block.Channels - c);
                for (int n = 0; n < stateSize; n++)
                {
                    Vector<float> gradState = _gradFinalState.GetOrZero(stateRow + n, block.First + c, lanes);
                    gradState.Store(work.GradState(c, n));
                }
            }

            long start = _forward.Sequences.Starts[sequence], end = _forward.Sequences.Starts[sequence + 1];
            long checkpoint = _forward.Sequences.CheckpointStarts(Steps)[sequence];
            for (long chunk = (end - start - 1) / Steps; chunk >= 0; chunk--)
            {
                long first = start + (chunk * Steps);
                int steps = (int)Math.Min(Steps, end - first);
                work.ClearLaneSums();
                for (int c = 0; c < block.Channels; c += Vector<float>.Count)
                {
                    Walk(block, work, first, steps, c, (checkpoint + chunk) * stateSize);
                }

                LeaveLaneSums(block, work, work.LaneSumsB(0), _sums.OfTokenB, first, steps, isFirstBlock);
                LeaveLaneSums(block, work, work.LaneSumsC(0), _sums.OfTokenC, first, steps, isFirstBlock);
            }

            for (int c = 0; !_gradInitialState.IsNone && c < block.Channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, block.Channels - c);
                for (int n = 0; n < stateSize; n++)
                {
                    _gradInitialState.Set(stateRow + n, block.First + c, lanes, Vector.Load(work.GradState(c, n)));
                }
            }
        }

        /// <summary>Sums over the channels of a block, added to those of the blocks before it in its range.</summary>
        private void LeaveLaneSums(
            in Block block, Workspace work, float* lanes, FloatRows destination, long first, int steps, bool isFirstBlock)
        {
            if (destination.IsNone)
            {
                return;
            }

            for (int step = 0; step < steps; step++)
            {
                float* sums = destination.Row((block.Range * _forward.U.Rows) + first + step) + (block.Group * work.StateSize);
                for (int n = 0; n < work.StateSize; n++, lanes += Workspace.PairFloats)
                {
                    float sum = SumOfLanes(lanes);
                    sums[n] = isFirstBlock ? sum : sums[n] + sum;
                }
            }
        }

        /// <summary>Takes one vector of channels through a chunk, whichever of B and C are constant.</summary>
        private void Walk(in Block block, Workspace work, long first, int steps, int c, long checkpointRow)
        {
            switch (_forward.ConstantB, _forward.ConstantC)
            {
                case (false, false):
                    Walk<PerToken, PerToken>(block, work, first, steps, c, checkpointRow);
                    break;
                case (false, true):
                    Walk<PerToken, PerChannel>(block, work, first, steps, c, checkpointRow);
                    break;
                case (true, false):
                    Walk<PerChannel, PerToken>(block, work, first, steps, c, checkpointRow);
                    break;
                case (true, true):
                    Walk<PerChannel, PerChannel>(block, work, first, steps, c, checkpointRow);
                    break;
            }
        }

        // The scratch is written before it is read.
        [SkipLocalsInit]
        private void Walk<TB, TC>(in Block block, Workspace work, long first, int steps, int c, long checkpointRow)
            where TB : struct, IScanInput
            where TC : struct, IScanInput
        {
            int stateSize = work.StateSize;
            int channel = block.First + c, lanes = Math.Min(Vector<float>.Count, block.Channels - c);
            Vector<float>* inputs = stackalloc Vector<float>[Steps];
            Vector<float>* steered = stackalloc Vector<float>[Steps];
            Vector<float>* deltas = stackalloc Vector<float>[Steps];
            Vector<float>* ys = stackalloc Vector<float>[Steps];

            // The forward pass again, to the last bit: loops and the order of sums are those of its Walk and Step.
            Vector<float> deltaBias = _deltaBias.GetOrZero(0, channel, lanes);
            for (int step = 0; step < steps; step++)
            {
                Vector<float> delta = _delta.Get(first + step, channel, lanes) + deltaBias;
                steered[step] = delta;
                deltas[step] = _forward.DeltaSoftplus ? VectorMath.Softplus(delta) : delta;
            }

            for (int n = 0; n < stateSize; n++)
            {
                _checkpoints.Get(checkpointRow + n, channel, lanes).Store(work.States(0) + (n * Workspace.PairFloats));
            }

            Vector<float> d = _d.GetOrZero(0, channel, lanes);
            for (int step = 0; step < steps; step++)
            {
                Vector<float> u = _u.Get(first + step, channel, lanes);
                inputs[step] = u;
                float* b = _forward.ConstantB ? work.B(c, 0) : _b.Row(first + step) + (block.Group * stateSize);
                float* cOfStep = _forward.ConstantC ? work.C(c, 0) : _c.Row(first + step) + (block.Group * stateSize);
                Vector<float> y =
                    Step<TB, TC>(b, cOfStep, stateSize, deltas[step], deltas[step] * u, work.A(c, 0), work.States(step));
                ys[step] = Vector.FusedMultiplyAdd(d, u, y);
            }

            // From here on ys holds the gradient before the gate.
            for (int step = 0; step < steps; step++)
            {
                ys[step] = Gate(first + step, channel, lanes, ys[step]);
            }

            Vector<float> gradD = Vector<float>.Zero, gradDeltaBias = Vector<float>.Zero;
            for (int step = steps - 1; step >= 0; step--)
            {
                Vector<float> u = inputs[step], delta = deltas[step], grad = ys[step];
                float* b = _forward.ConstantB ? work.B(c, 0) : _b.Row(first + step) + (block.Group * stateSize);
                float* cOfStep = _forward.ConstantC ? work.C(c, 0) : _c.Row(first + step) + (block.Group * stateSize);
                float* gradB = _forward.ConstantB ? work.GradB(c, 0) : work.LaneSumsB(step);
                float* gradC = _forward.ConstantC ? work.GradC(c, 0) : work.LaneSumsC(step);
                Vector<float> throughB = StepBack<TB, TC>(
                    b, cOfStep, stateSize, delta, delta * u, grad, work.A(c, 0), work.States(step), gradB, gradC,
                    out Vector<float> throughDecay);
                Vector<float> gradDelta = Vector.FusedMultiplyAdd(u, throughB, throughDecay * Ln2);
                if (_forward.DeltaSoftplus)
                {
                    Vector<float> raw = steered[step];
                    Vector<float> slope = VectorMath.Sigmoid(raw);
                    gradDelta *= Vector.ConditionalSelect(Vector.GreaterThan(raw, new Vector<float>(20f)), Vector<float>.One, slope);
                }

                gradD = Vector.FusedMultiplyAdd(grad, u, gradD);
                gradDeltaBias += gradDelta;
                if (!_gradDelta.IsNone)
                {
                    _gradDelta.Set(first + step, channel, lanes, gradDelta);
                }

                if (!_gradU.IsNone)
                {
                    _gradU.Set(first + step, channel, lanes, Vector.FusedMultiplyAdd(grad, d, delta * throughB));
                }
            }

            (Vector.Load(work.GradD(c)) + gradD).Store(work.GradD(c));
            (Vector.Load(work.GradDeltaBias(c)) + gradDeltaBias).Store(work.GradDeltaBias(c));
        }

        /// <summary>Leaves a token's y and the gradient of its z; gives the gradient of what z gates.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private Vector<float> Gate(long token, int channel, int lanes, Vector<float> y)
        {
            Vector<float> grad = _gradY.Get(token, channel, lanes);
            Vector<float> gated = y;
            if (!_z.IsNone)
            {
                // As VectorMath.Silu, whose parts are needed apart.
                Vector<float> z = _z.Get(token, channel, lanes);
                Vector<float> denominator = Vector<float>.One + VectorMath.Exp(-z);
                Vector<float> silu = z / denominator, sigmoid = Vector<float>.One / denominator;
                if (!_gradZ.IsNone)
                {
                    Vector<float> slope = Vector.FusedMultiplyAdd(silu, Vector<float>.One - sigmoid, sigmoid);
                    _gradZ.Set(token, channel, lanes, grad * y * slope);
                }

                gated = y * silu;
                grad *= silu;
            }

            if (!_y.IsNone)
            {
                _y.Set(token, channel, lanes, gated);
            }

            return grad;
        }

        /// <summary>One step of the recurrence, from one row of states to the next, with its decays kept beside the states before.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector<float> Step<TB, TC>(
            float* b, float* c, int stateSize, Vector<float> delta, Vector<float> deltaU, float* a, float* states)
            where TB : struct, IScanInput
            where TC : struct, IScanInput
        {
            int size = Vector<float>.Count, pair = Workspace.PairFloats, channel = Workspace.ChannelFloats;
            float* next = states + (stateSize * pair);
            Vector<float> y = Vector<float>.Zero;
            nint n = 0;
            for (; n <= stateSize - 4; n += 4, a += 4 * channel, states += 4 * pair, next += 4 * pair)
            {
                Vector<float> decay0 = delta * Vector.Load(a), decay1 = delta * Vector.Load(a + channel);
                Vector<float> decay2 = delta * Vector.Load(a + (2 * channel)), decay3 = delta * Vector.Load(a + (3 * channel));
                VectorMath.Exp2(ref decay0, ref decay1, ref decay2, ref decay3);
                decay0.Store(states + size);
                decay1.Store(states + pair + size);
                decay2.Store(states + (2 * pair) + size);
                decay3.Store(states + (3 * pair) + size);
                Vector<float> h0 = Vector.FusedMultiplyAdd(decay0, Vector.Load(states), deltaU * TB.Get(b, n));
                Vector<float> h1 = Vector.FusedMultiplyAdd(decay1, Vector.Load(states + pair), deltaU * TB.Get(b, n + 1));
                Vector<float> h2 = Vector.FusedMultiplyAdd(decay2, Vector.Load(states + (2 * pair)), deltaU * TB.Get(b, n + 2));
                Vector<float> h3 = Vector.FusedMultiplyAdd(decay3, Vector.Load(states + (3 * pair)), deltaU * TB.Get(b, n + 3));
                h0.Store(next);
                h1.Store(next + pair);
                h2.Store(next + (2 * pair));
                h3.Store(next + (3 * pair));
                y = Vector.FusedMultiplyAdd(h0, TC.Get(c, n), y);
                y = Vector.FusedMultiplyAdd(h1, TC.Get(c, n + 1), y);
                y = Vector.FusedMultiplyAdd(h2, TC.Get(c, n + 2), y);
                y = Vector.FusedMultiplyAdd(h3, TC.Get(c, n + 3), y);
            }

            for (; n < stateSize; n++, a += channel, states += pair, next += pair)
            {
                Vector<float> decay = VectorMath.Exp2(delta * Vector.Load(a));
                decay.Store(states + size);
                Vector<float> h = Vector.FusedMultiplyAdd(decay, Vector.Load(states), deltaU * TB.Get(b, n));
                h.Store(next);
                y = Vector.FusedMultiplyAdd(h, TC.Get(c, n), y);
            }

            return y;
        }

        /// <summary>
        /// Leads the gradient of the state from after a step to before it; see the class for the formulas. Gives the sum of dh B, and of
        /// dh decay h' A. On its own, for it needs all registers.
        /// </summary>
        [MethodImpl(MethodImplOptions.NoInlining)]
        private static Vector<float> StepBack<TB, TC>(
            float* b, float* c, int stateSize, Vector<float> delta, Vector<float> deltaU, Vector<float> grad, float* channels,
            float* states, float* gradB, float* gradC, out Vector<float> throughDecay)
            where TB : struct, IScanInput
            where TC : struct, IScanInput
        {
            int size = Vector<float>.Count, pair = Workspace.PairFloats;
            float* next = states + (stateSize * pair);
            Vector<float> sumB = Vector<float>.Zero, sumDecay = Vector<float>.Zero;
            for (nint n = 0; n < stateSize; n++)
            {
                Vector<float> gradH = Vector.FusedMultiplyAdd(grad, TC.Get(c, n), Vector.Load(channels + size));
                Vector.FusedMultiplyAdd(grad, Vector.Load(next), Vector.Load(gradC)).Store(gradC);
                Vector.FusedMultiplyAdd(gradH, deltaU, Vector.Load(gradB)).Store(gradB);
                sumB = Vector.FusedMultiplyAdd(gradH, TB.Get(b, n), sumB);
                Vector<float> decayed = gradH * Vector.Load(states + size);
                decayed.Store(channels + size);
                Vector<float> gradExponent = decayed * Vector.Load(states);
                sumDecay = Vector.FusedMultiplyAdd(gradExponent, Vector.Load(channels), sumDecay);
                Vector.FusedMultiplyAdd(gradExponent, delta, Vector.Load(channels + (2 * size))).Store(channels + (2 * size));
                channels += Workspace.ChannelFloats;
                states += pair;
                next += pair;
                gradB += pair;
                gradC += pair;
            }

            throughDecay = sumDecay;
            return sumB;
        }

        /// <summary>The sum of a vector's lanes, in the same order whether or not the code is optimized.</summary>
        private static float SumOfLanes(float* lanes)
        {
            Vector128<float> sum = Vector128.Load(lanes);
            for (int i = Vector128<float>.Count; i < Vector<float>.Count; i += Vector128<float>.Count)
            {
                sum += Vector128.Load(lanes + i);
            }

            return (sum[0] + sum[2]) + (sum[1] + sum[3]);
        }

        /// <summary>A block of channels of a group, and whose sums it leaves.</summary>
        private readonly record struct Block(int Range, int Group, int Shard, int First, int Channels);

        /// <summary>
        /// What a part computes in. What is used together lies together: then few addresses need registers, and none of them are a
        /// multiple of 4 KB apart, which the processor would take for the same. On the heap: with the largest state size it is more than a
        /// thread's stack may have.
        /// </summary>
        private readonly struct Workspace : IDisposable
        {
            private readonly float* _start;

            public Workspace(int stateSize)
            {
                StateSize = stateSize;
                nint floats = (7 * BlockFloats) + (2 * ScanBackwardParts.BlockChannels) + (((2 * Steps) + 1) * RowFloats);
                _start = (float*)NativeMemory.AlignedAlloc((nuint)floats * sizeof(float), 64);
            }

            /// <summary>From one state to the next of a vector of channels: A, the gradient of the state and the gradient of A.</summary>
            public static int ChannelFloats => 3 * Vector<float>.Count;

            /// <summary>From one state to the next where two vectors lie together.</summary>
            public static int PairFloats => 2 * Vector<float>.Count;

            public int StateSize { get; }

            private nint BlockFloats => (nint)StateSize * ScanBackwardParts.BlockChannels;

            private nint RowFloats => (nint)StateSize * PairFloats;

            /// <summary>A with log2(e) folded in, of the vector of channels that starts at c.</summary>
            public float* A(int c, int n) => _start + ((nint)c * StateSize * 3) + (n * ChannelFloats);

            /// <summary>The gradient of the state, where the walk is.</summary>
            public float* GradState(int c, int n) => A(c, n) + Vector<float>.Count;

            public float* GradA(int c, int n) => A(c, n) + (2 * Vector<float>.Count);

            /// <summary>B, where it is constant.</summary>
            public float* B(int c, int n) => _start + (3 * BlockFloats) + ((nint)c * StateSize * 2) + (n * PairFloats);

            public float* GradB(int c, int n) => B(c, n) + Vector<float>.Count;

            /// <summary>C, where it is constant.</summary>
            public float* C(int c, int n) => B(c, n) + (2 * BlockFloats);

            public float* GradC(int c, int n) => C(c, n) + Vector<float>.Count;

            public float* GradD(int c) => _start + (7 * BlockFloats) + c;

            public float* GradDeltaBias(int c) => GradD(c) + ScanBackwardParts.BlockChannels;

            /// <summary>The states of one vector of channels before a step of the chunk, each with the step's decay behind it.</summary>
            public float* States(int step) => GradDeltaBias(ScanBackwardParts.BlockChannels) + (step * RowFloats);

            /// <summary>The gradient of B of a step's token, a lane for every channel of the block that has its place.</summary>
            public float* LaneSumsB(int step) => States(Steps + 1) + (step * RowFloats);

            /// <summary>The same of C.</summary>
            public float* LaneSumsC(int step) => LaneSumsB(step) + Vector<float>.Count;

            public void ClearLaneSums() => NativeMemory.Clear(LaneSumsB(0), (nuint)(Steps * RowFloats) * sizeof(float));

            public void Dispose() => NativeMemory.AlignedFree(_start);
        }
    }
}
