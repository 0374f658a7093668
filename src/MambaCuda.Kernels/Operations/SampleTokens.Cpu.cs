using System.Buffers;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void SampleTokensCore(in SampleTokensArgs args)
    {
        for (long row = 0; row < args.Logits.Rows; row++)
        {
            CheckLogits(new ReadOnlySpan<float>(Row(args.Logits, row), args.Logits.Columns), row);
        }

        long perPart = ItemsPerPart(args.Logits.Rows, minimum: 1);
        SampleTokensBody body = new(args, perPart);
        _pool.Run(ref body, Parts(args.Logits.Rows, perPart));
    }

    private static void CheckLogits(ReadOnlySpan<float> logits, long row)
    {
        bool any = false;
        for (int id = 0; id < logits.Length; id++)
        {
            if (!(logits[id] < float.PositiveInfinity))
            {
                throw new ArithmeticException(LogitFault.NotFinite(row, id));
            }

            any |= logits[id] > float.NegativeInfinity;
        }

        if (!any)
        {
            throw new ArithmeticException(LogitFault.NoToken(row));
        }
    }

    private readonly struct SampleTokensBody(in SampleTokensArgs args, long rowsPerPart) : IParallelBody
    {
        private readonly SampleTokensArgs _args = args;

        public void Run(int part)
        {
            int vocabulary = _args.Logits.Columns;
            float[] values = ArrayPool<float>.Shared.Rent(vocabulary);
            float[] sorted = ArrayPool<float>.Shared.Rent(vocabulary);
            long end = Math.Min((part + 1) * rowsPerPart, _args.Logits.Rows);
            for (long row = part * rowsPerPart; row < end; row++)
            {
                Choose(row, values.AsSpan(0, vocabulary), sorted.AsSpan(0, vocabulary));
            }

            ArrayPool<float>.Shared.Return(values);
            ArrayPool<float>.Shared.Return(sorted);
        }

        private void Choose(long row, Span<float> values, Span<float> sorted)
        {
            ReadOnlySpan<float> columns = new(CpuBackend.Row(_args.Options, row), TokenSampling.Columns);
            TokenSampling options = TokenSampling.FromColumns(columns);
            float* logits = (float*)CpuBackend.Row(_args.Logits, row);
            int* counts = _args.Counts.IsNone ? null : (int*)CpuBackend.Row(_args.Counts, row);
            for (int id = 0; id < values.Length; id++)
            {
                values[id] = Penalized(logits[id], counts == null ? 0 : counts[id], options);
            }

            int chosen = IndexOfLargest(values);
            if (options.Temperature != 0)
            {
                Span<long> state = new(CpuBackend.Row(_args.RandomStates, row), RandomStream.StateLength);
                RandomStream random = new(state);
                chosen = Draw(values, sorted, values[chosen], options, random.NextDouble());
                random.CopyStateTo(state);
            }

            *(int*)CpuBackend.Row(_args.TokenIds, row) = chosen;
            *(float*)CpuBackend.Row(_args.LogProbabilities, row) = (float)(logits[chosen] - LogSumExp(logits, values.Length));
            if (counts != null)
            {
                counts[chosen]++;
            }
        }

        private static float Penalized(float value, int count, in TokenSampling options)
        {
            if (count == 0)
            {
                return value;
            }

            value = value > 0 ? value / options.RepetitionPenalty : value * options.RepetitionPenalty;
            return value - options.PresencePenalty - (count * options.FrequencyPenalty);
        }

        private static int IndexOfLargest(ReadOnlySpan<float> values)
        {
            int best = 0;
            for (int id = 1; id < values.Length; id++)
            {
                best = values[id] > values[best] ? id : best;
            }

            return best;
        }

        private static int Draw(Span<float> values, Span<float> sorted, float largest, in TokenSampling options, double random)
        {
            for (int id = 0; id < values.Length; id++)
            {
                values[id] = MathF.Exp((values[id] - largest) / options.Temperature);
            }

            (float threshold, int ties) = Threshold(values, sorted, options);
            double sum = 0;
            int left = ties;
            foreach (float value in values)
            {
                sum += Stays(value, threshold, ref left) ? value : 0;
            }

            double rest = random * sum;
            left = ties;
            int last = 0;
            for (int id = 0; id < values.Length; id++)
            {
                if (Stays(values[id], threshold, ref left) && values[id] > 0)
                {
                    rest -= values[id];
                    last = id;
                    if (rest < 0)
                    {
                        break;
                    }
                }
            }

            // Rounding may leave a crumb at the end: it belongs to the last token that has any probability.
            return last;
        }

        /// <summary>What filters keep: values above the threshold, and so many of those equal to it.</summary>
        private static (float Threshold, int Ties) Threshold(ReadOnlySpan<float> values, Span<float> sorted, in TokenSampling options)
        {
            (float Threshold, int Ties) kept = (0, int.MaxValue);
            bool fewer = options.TopK > 0 && options.TopK < values.Length;
            if (fewer || options.TopP < 1)
            {
                values.CopyTo(sorted);
                sorted.Sort((left, right) => right.CompareTo(left));
                int count = fewer ? options.TopK : values.Length;
                count = options.TopP < 1 ? Reaching(sorted[..count], options.TopP) : count;
                kept = (sorted[count - 1], count - sorted.IndexOf(sorted[count - 1]));
            }

            return options.MinP > kept.Threshold ? (options.MinP, int.MaxValue) : kept;
        }

        /// <summary>How many of the largest together reach a share of the sum.</summary>
        private static int Reaching(ReadOnlySpan<float> sorted, float share)
        {
            double total = 0;
            foreach (float value in sorted)
            {
                total += value;
            }

            double sum = 0;
            for (int i = 0; i < sorted.Length; i++)
            {
                sum += sorted[i];
                if (sum >= share * total)
                {
                    return i + 1;
                }
            }

            return sorted.Length;
        }

        private static bool Stays(float value, float threshold, ref int ties) => value > threshold || (value == threshold && ties-- > 0);
    }
}
