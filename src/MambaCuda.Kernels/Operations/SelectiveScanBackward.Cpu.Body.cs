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
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector<float> Get(float* values, nint n) => Vector.Load(values + (n * Vector<float>.Count));
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
            using Memory memory = new((int)_forward.A.Rows);
            for (int block = _parts.FirstBlock(range); block < _parts.FirstBlock(range + 1); block++)
            {
                int first = block * ScanBackwardParts.BlockChannels;
                int channels = Math.Min(ScanBackwardParts.BlockChannels, _parts.GroupChannels - first);
                Block place = new(range, group, shard, (group * _parts.GroupChannels) + first, channels);
                Begin(place, memory);
                for (int sequence = _parts.FirstSequence(shard); sequence < _parts.FirstSequence(shard + 1); sequence++)
                {
                    WalkSequence(place, memory, sequence, isFirstBlock: block == _parts.FirstBlock(range));
                }

                Leave(place, memory);
            }
        }

        /// <summary>Reads a block's parameters and starts its sums over tokens.</summary>
        private void Begin(in Block block, Memory memory)
        {
            for (int c = 0; c < block.Channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, block.Channels - c);
                for (int n = 0; n < memory.StateSize; n++)
                {
                    int i = (c * memory.StateSize) + (n * Vector<float>.Count);
                    (_a.Get(n, block.First + c, lanes) * VectorMath.Log2E).Store(memory.A + i);
                    if (_forward.ConstantB)
                    {
                        _b.Get(n, block.First + c, lanes).Store(memory.B + i);
                    }

                    if (_forward.ConstantC)
                    {
                        _c.Get(n, block.First + c, lanes).Store(memory.C + i);
                    }
                }
            }

            memory.ClearParameterSums();
        }

        /// <summary>Leaves a block's sums over the tokens of its shard.</summary>
        private void Leave(in Block block, Memory memory)
        {
            long row = block.Shard * _sums.ParameterRows;
            Leave(block, memory, memory.GradA, _sums.OfA, row);
            Leave(block, memory, memory.GradB, _sums.OfConstantB, row);
            Leave(block, memory, memory.GradC, _sums.OfConstantC, row);
            for (int c = 0; c < block.Channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, block.Channels - c);
                _sums.OfD.Set(row, block.First + c, lanes, Vector.Load(memory.GradD + c));
                _sums.OfDeltaBias.Set(row, block.First + c, lanes, Vector.Load(memory.GradDeltaBias + c));
            }
        }

        /// <summary>Copies what a block holds of each state to rows of a view, where there is one.</summary>
        private static void Leave(in Block block, Memory memory, float* values, FloatRows destination, long row)
        {
            for (int c = 0; !destination.IsNone && c < block.Channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, block.Channels - c);
                for (int n = 0; n < memory.StateSize; n++)
                {
                    Vector<float> value = Vector.Load(values + (c * memory.StateSize) + (n * Vector<float>.Count));
                    destination.Set(row + n, block.First + c, lanes, value);
                }
            }
        }

        private void WalkSequence(in Block block, Memory memory, int sequence, bool isFirstBlock)
        {
            int stateSize = memory.StateSize;
            long stateRow = (long)_forward.Sequences.Slots[sequence] * stateSize;
            for (int c = 0; c < block.Channels; c += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, block.Channels - c);
                for (int n = 0; n < stateSize; n++)
                {
                    Vector<float> gradState = _gradFinalState.GetOrZero(stateRow + n, block.First + c, lanes);
                    gradState.Store(memory.GradState + (c * stateSize) + (n * Vector<float>.Count));
                }
            }

            long start = _forward.Sequences.Starts[sequence], end = _forward.Sequences.Starts[sequence + 1];
            long checkpoint = _forward.Sequences.CheckpointStarts(Steps)[sequence];
            for (long chunk = (end - start - 1) / Steps; chunk >= 0; chunk--)
            {
                long first = start + (chunk * Steps);
                int steps = (int)Math.Min(Steps, end - first);
                memory.ClearLaneSums();
                for (int c = 0; c < block.Channels; c += Vector<float>.Count)
                {
                    Walk(block, memory, first, steps, c, (checkpoint + chunk) * stateSize);
                }

                LeaveLaneSums(block, memory, memory.LaneSumsB, _sums.OfTokenB, first, steps, isFirstBlock);
                LeaveLaneSums(block, memory, memory.LaneSumsC, _sums.OfTokenC, first, steps, isFirstBlock);
            }

            Leave(block, memory, memory.GradState, _gradInitialState, stateRow);
        }

        /// <summary>Sums over the channels of a block, added to those of the blocks before it in its range.</summary>
        private void LeaveLaneSums(
            in Block block, Memory memory, float* lanes, FloatRows destination, long first, int steps, bool isFirstBlock)
        {
            if (destination.IsNone)
            {
                return;
            }

            for (int step = 0; step < steps; step++)
            {
                float* sums = destination.Row((block.Range * _forward.U.Rows) + first + step) + (block.Group * memory.StateSize);
                for (int n = 0; n < memory.StateSize; n++, lanes += Vector<float>.Count)
                {
                    float sum = SumOfLanes(lanes);
                    sums[n] = isFirstBlock ? sum : sums[n] + sum;
                }
            }
        }

        /// <summary>Takes one vector of channels through a chunk, whichever of B and C are constant.</summary>
        private void Walk(in Block block, Memory memory, long first, int steps, int c, long checkpointRow)
        {
            switch (_forward.ConstantB, _forward.ConstantC)
            {
                case (false, false):
                    Walk<PerToken, PerToken>(block, memory, first, steps, c, checkpointRow);
                    break;
                case (false, true):
                    Walk<PerToken, PerChannel>(block, memory, first, steps, c, checkpointRow);
                    break;
                case (true, false):
                    Walk<PerChannel, PerToken>(block, memory, first, steps, c, checkpointRow);
                    break;
                case (true, true):
                    Walk<PerChannel, PerChannel>(block, memory, first, steps, c, checkpointRow);
                    break;
            }
        }

        // The scratch is written before it is read.
        [SkipLocalsInit]
        private void Walk<TB, TC>(in Block block, Memory memory, long first, int steps, int c, long checkpointRow)
            where TB : struct, IScanInput
            where TC : struct, IScanInput
        {
            int stateSize = memory.StateSize;
            nint rowFloats = (nint)stateSize * Vector<float>.Count;
            int channel = block.First + c, lanes = Math.Min(Vector<float>.Count, block.Channels - c);
            float* a = memory.A + (c * stateSize);
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
                _checkpoints.Get(checkpointRow + n, channel, lanes).Store(memory.States + (n * Vector<float>.Count));
            }

            Vector<float> d = _d.GetOrZero(0, channel, lanes);
            for (int step = 0; step < steps; step++)
            {
                Vector<float> u = _u.Get(first + step, channel, lanes);
                inputs[step] = u;
                float* b = _forward.ConstantB ? memory.B + (c * stateSize) : _b.Row(first + step) + (block.Group * stateSize);
                float* cOfStep = _forward.ConstantC ? memory.C + (c * stateSize) : _c.Row(first + step) + (block.Group * stateSize);
                Vector<float> y = Step<TB, TC>(
                    b, cOfStep, stateSize, deltas[step], deltas[step] * u, a,
                    memory.States + (step * rowFloats), memory.Decays + (step * rowFloats));
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
                float* b = _forward.ConstantB ? memory.B + (c * stateSize) : _b.Row(first + step) + (block.Group * stateSize);
                float* cOfStep = _forward.ConstantC ? memory.C + (c * stateSize) : _c.Row(first + step) + (block.Group * stateSize);
                float* gradB = _forward.ConstantB ? memory.GradB + (c * stateSize) : memory.LaneSumsB + (step * rowFloats);
                float* gradC = _forward.ConstantC ? memory.GradC + (c * stateSize) : memory.LaneSumsC + (step * rowFloats);
                StepBack<TB, TC>(
                    b, cOfStep, stateSize, delta, delta * u, grad, a,
                    memory.States + (step * rowFloats), memory.Decays + (step * rowFloats), memory.GradState + (c * stateSize),
                    memory.GradA + (c * stateSize), gradB, gradC, out Vector<float> throughB,
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

            (Vector.Load(memory.GradD + c) + gradD).Store(memory.GradD + c);
            (Vector.Load(memory.GradDeltaBias + c) + gradDeltaBias).Store(memory.GradDeltaBias + c);
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

        /// <summary>One step of the recurrence, from one row of states to the next, with its decays kept.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector<float> Step<TB, TC>(
            float* b, float* c, int stateSize, Vector<float> delta, Vector<float> deltaU, float* a, float* states, float* decays)
            where TB : struct, IScanInput
            where TC : struct, IScanInput
        {
            int size = Vector<float>.Count;
            float* next = states + (stateSize * size);
            Vector<float> y = Vector<float>.Zero;
            nint n = 0;
            for (; n <= stateSize - 4; n += 4, a += 4 * size, states += 4 * size, next += 4 * size, decays += 4 * size)
            {
                Vector<float> decay0 = delta * Vector.Load(a), decay1 = delta * Vector.Load(a + size);
                Vector<float> decay2 = delta * Vector.Load(a + (2 * size)), decay3 = delta * Vector.Load(a + (3 * size));
                VectorMath.Exp2(ref decay0, ref decay1, ref decay2, ref decay3);
                decay0.Store(decays);
                decay1.Store(decays + size);
                decay2.Store(decays + (2 * size));
                decay3.Store(decays + (3 * size));
                Vector<float> h0 = Vector.FusedMultiplyAdd(decay0, Vector.Load(states), deltaU * TB.Get(b, n));
                Vector<float> h1 = Vector.FusedMultiplyAdd(decay1, Vector.Load(states + size), deltaU * TB.Get(b, n + 1));
                Vector<float> h2 = Vector.FusedMultiplyAdd(decay2, Vector.Load(states + (2 * size)), deltaU * TB.Get(b, n + 2));
                Vector<float> h3 = Vector.FusedMultiplyAdd(decay3, Vector.Load(states + (3 * size)), deltaU * TB.Get(b, n + 3));
                h0.Store(next);
                h1.Store(next + size);
                h2.Store(next + (2 * size));
                h3.Store(next + (3 * size));
                y = Vector.FusedMultiplyAdd(h0, TC.Get(c, n), y);
                y = Vector.FusedMultiplyAdd(h1, TC.Get(c, n + 1), y);
                y = Vector.FusedMultiplyAdd(h2, TC.Get(c, n + 2), y);
                y = Vector.FusedMultiplyAdd(h3, TC.Get(c, n + 3), y);
            }

            for (; n < stateSize; n++, a += size, states += size, next += size, decays += size)
            {
                Vector<float> decay = VectorMath.Exp2(delta * Vector.Load(a));
                decay.Store(decays);
                Vector<float> h = Vector.FusedMultiplyAdd(decay, Vector.Load(states), deltaU * TB.Get(b, n));
                h.Store(next);
                y = Vector.FusedMultiplyAdd(h, TC.Get(c, n), y);
            }

            return y;
        }

        /// <summary>Leads the gradient of the state from after a step to before it; see the class for the formulas.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void StepBack<TB, TC>(
            float* b, float* c, int stateSize, Vector<float> delta, Vector<float> deltaU, Vector<float> grad, float* a, float* before,
            float* decays, float* gradState, float* gradA, float* gradB, float* gradC, out Vector<float> throughB,
            out Vector<float> throughDecay)
            where TB : struct, IScanInput
            where TC : struct, IScanInput
        {
            float* after = before + (stateSize * Vector<float>.Count);
            Vector<float> sumB = Vector<float>.Zero, sumDecay = Vector<float>.Zero;
            nint i = 0;
            for (nint n = 0; n < stateSize; n++, i += Vector<float>.Count)
            {
                Vector<float> gradH = Vector.FusedMultiplyAdd(grad, TC.Get(c, n), Vector.Load(gradState + i));
                Vector.FusedMultiplyAdd(grad, Vector.Load(after + i), Vector.Load(gradC + i)).Store(gradC + i);
                Vector.FusedMultiplyAdd(gradH, deltaU, Vector.Load(gradB + i)).Store(gradB + i);
                sumB = Vector.FusedMultiplyAdd(gradH, TB.Get(b, n), sumB);
                Vector<float> decayed = gradH * Vector.Load(decays + i);
                decayed.Store(gradState + i);
                Vector<float> gradExponent = decayed * Vector.Load(before + i);
                sumDecay = Vector.FusedMultiplyAdd(gradExponent, Vector.Load(a + i), sumDecay);
                Vector.FusedMultiplyAdd(gradExponent, delta, Vector.Load(gradA + i)).Store(gradA + i);
            }

            throughB = sumB;
            throughDecay = sumDecay;
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
        /// What a part computes in: of a block, for each vector of channels and each state a vector; of a chunk and a vector of channels,
        /// for each step and state one. On the heap: with the largest state size it is more than a thread's stack may have.
        /// </summary>
        private readonly struct Memory : IDisposable
        {
            private readonly float* _start;

            public Memory(int stateSize)
            {
                StateSize = stateSize;
                nuint floats = (nuint)((BlockMatrices * BlockFloats) + (2 * ScanBackwardParts.BlockChannels) + (4 * ChunkFloats));
                _start = (float*)NativeMemory.AlignedAlloc(floats * sizeof(float), 64);
            }

            private const int BlockMatrices = 7;

            public int StateSize { get; }

            /// <summary>A, with log2(e) folded in.</summary>
            public float* A => _start;

            /// <summary>B, where it is constant.</summary>
            public float* B => _start + BlockFloats;

            /// <summary>C, where it is constant.</summary>
            public float* C => _start + (2 * BlockFloats);

            /// <summary>The gradient of the state, where the walk is.</summary>
            public float* GradState => _start + (3 * BlockFloats);

            public float* GradA => _start + (4 * BlockFloats);

            /// <summary>The gradient of a constant B.</summary>
            public float* GradB => _start + (5 * BlockFloats);

            /// <summary>The gradient of a constant C.</summary>
            public float* GradC => _start + (6 * BlockFloats);

            public float* GradD => _start + (BlockMatrices * BlockFloats);

            public float* GradDeltaBias => GradD + ScanBackwardParts.BlockChannels;

            /// <summary>The states before the chunk and after each of its steps.</summary>
            public float* States => GradDeltaBias + ScanBackwardParts.BlockChannels + (3 * ChunkFloats);

            public float* Decays => GradDeltaBias + ScanBackwardParts.BlockChannels + (2 * ChunkFloats);

            /// <summary>The gradient of B of the chunk's tokens, a lane for every channel of the block that has its place.</summary>
            public float* LaneSumsB => GradDeltaBias + ScanBackwardParts.BlockChannels;

            /// <summary>The same of C.</summary>
            public float* LaneSumsC => LaneSumsB + ChunkFloats;

            private nint BlockFloats => (nint)StateSize * ScanBackwardParts.BlockChannels;

            /// <summary>A row more than there are steps: states have one.</summary>
            private nint ChunkFloats => (nint)StateSize * Vector<float>.Count * (Steps + 1);

            public void ClearParameterSums() =>
                NativeMemory.Clear(GradA, (nuint)((3 * BlockFloats) + (2 * ScanBackwardParts.BlockChannels)) * sizeof(float));

            public void ClearLaneSums() => NativeMemory.Clear(LaneSumsB, (nuint)(2 * ChunkFloats) * sizeof(float));

            public void Dispose() => NativeMemory.AlignedFree(_start);
        }
    }
}
