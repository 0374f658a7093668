using System.Numerics;
using System.Security.Cryptography;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Chooses the next token of one sequence from its logits. Keeps the random numbers and the tokens seen; allocates only when it is made and
/// while the set of seen tokens grows.
/// </summary>
public sealed class Sampler
{
    private readonly SamplingOptions _options;
    private readonly Dictionary<int, int> _seen;
    private readonly int _vocabularySize;
    private float[] _values = [];
    private int[] _ids = [];
    private RandomStream _random;

    /// <summary>Creates a sampler for a sequence.</summary>
    /// <param name="options">How to choose.</param>
    /// <param name="vocabularySize">The number of logits.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    public Sampler(SamplingOptions options, int vocabularySize)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabularySize);
        options.Validate();
        _options = options;
        _vocabularySize = vocabularySize;
        _seen = [];
        Seed = options.Seed ?? BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
        _random = new RandomStream(Seed);
    }

    private Sampler(Sampler from)
    {
        _options = from._options;
        _vocabularySize = from._vocabularySize;
        _seen = new Dictionary<int, int>(from._seen);
        _random = from._random;
        Seed = from.Seed;
    }

    /// <summary>The seed in use: the one asked for, or the one drawn.</summary>
    public ulong Seed { get; }

    /// <summary>Whether tokens seen before matter to it.</summary>
    internal bool HasPenalties => _options.HasPenalties;

    /// <summary>Tells of tokens that count as seen for the penalties: the prompt's. Chosen tokens count by themselves.</summary>
    public void Observe(ReadOnlySpan<int> tokenIds)
    {
        if (_options.HasPenalties)
        {
            foreach (int id in tokenIds)
            {
                _seen[id] = _seen.GetValueOrDefault(id) + 1;
            }
        }
    }

    /// <summary>Chooses a token. Equal logits are ordered by id, the lower first.</summary>
    /// <param name="logits">The model's logits, one for each token of the vocabulary. They are not changed.</param>
    /// <exception cref="ArithmeticException">A logit is NaN or infinite, or all are minus infinity: the model's weights or state are
    /// damaged.</exception>
    public SampledToken Sample(ReadOnlySpan<float> logits)
    {
        if (logits.Length != _vocabularySize)
        {
            throw new ArgumentException($"{logits.Length} logits were given for a vocabulary of {_vocabularySize}.", nameof(logits));
        }

        CheckFinite(logits);
        if (_values.Length == 0)
        {
            (_values, _ids) = (new float[_vocabularySize], new int[_vocabularySize]);
        }

        logits.CopyTo(_values);
        Penalize();
        int chosen = _options.Temperature == 0 ? IndexOfLargest(_values) : Draw();
        Observe([chosen]);
        return new SampledToken(chosen, (float)(logits[chosen] - LogSumExp(logits)));
    }

    /// <summary>Writes where it stands as operands of <see cref="Backend.SampleTokens"/>: what the device needs to choose in its place.</summary>
    /// <param name="options"><see cref="TokenSampling.Columns"/> columns.</param>
    /// <param name="random"><see cref="RandomStream.StateLength"/> words.</param>
    internal void CopyTo(Span<float> options, Span<long> random)
    {
        new TokenSampling
        {
            Temperature = _options.Temperature,
            TopK = _options.TopK,
            TopP = _options.TopP,
            MinP = _options.MinP,
            RepetitionPenalty = _options.RepetitionPenalty,
            PresencePenalty = _options.PresencePenalty,
            FrequencyPenalty = _options.FrequencyPenalty,
        }.CopyTo(options);
        _random.CopyStateTo(random);
    }

    /// <summary>Writes how often each token was seen, one count for every token of the vocabulary.</summary>
    internal void CopyCountsTo(Span<int> counts)
    {
        counts.Clear();
        foreach ((int id, int count) in _seen)
        {
            counts[id] = count;
        }
    }

    /// <summary>One that stands where this one will when it has chosen a token.</summary>
    internal Sampler After(int tokenId)
    {
        Sampler after = new(this);
        if (_options.Temperature != 0)
        {
            after._random.NextDouble();
        }

        after.Observe([tokenId]);
        return after;
    }

    /// <summary>Takes over what the device chose in its place.</summary>
    internal void Follow(int tokenId, ReadOnlySpan<long> random)
    {
        _random = new RandomStream(random);
        Observe([tokenId]);
    }

    private static void CheckFinite(ReadOnlySpan<float> logits)
    {
        if (AreBelowInfinity(logits))
        {
            return;
        }

        for (int id = 0; id < logits.Length; id++)
        {
            if (!(logits[id] < float.PositiveInfinity))
            {
                throw new ArithmeticException($"The logit of token {id} is {logits[id]}: the model's weights or its state are damaged.");
            }
        }

        throw new ArithmeticException("All logits are minus infinity: no token can be chosen.");
    }

    /// <summary>Whether no logit is NaN or plus infinity, and not all are minus infinity.</summary>
    private static bool AreBelowInfinity(ReadOnlySpan<float> logits)
    {
        bool all = true, any = false;
        int id = 0;
        for (; id <= logits.Length - Vector<float>.Count; id += Vector<float>.Count)
        {
            Vector<float> values = new(logits[id..]);
            all &= Vector.LessThanAll(values, new Vector<float>(float.PositiveInfinity));
            any |= Vector.GreaterThanAny(values, new Vector<float>(float.NegativeInfinity));
        }

        for (; id < logits.Length; id++)
        {
            all &= logits[id] < float.PositiveInfinity;
            any |= logits[id] > float.NegativeInfinity;
        }

        return all && any;
    }

    /// <summary>The most likely token of some logits; the first of equals.</summary>
    internal static int IndexOfLargest(ReadOnlySpan<float> values)
    {
        int best = 0, id = 0;
        for (; id <= values.Length - Vector<float>.Count; id += Vector<float>.Count)
        {
            // Only a group that has a larger one is looked at value by value.
            if (Vector.GreaterThanAny(new Vector<float>(values[id..]), new Vector<float>(values[best])))
            {
                best = Best(values, best, id, id + Vector<float>.Count);
            }
        }

        return Best(values, best, id, values.Length);
    }

    private static int Best(ReadOnlySpan<float> values, int best, int from, int to)
    {
        for (int id = from; id < to; id++)
        {
            best = values[id] > values[best] ? id : best;
        }

        return best;
    }

    private static double LogSumExp(ReadOnlySpan<float> logits)
    {
        float largest = logits[IndexOfLargest(logits)];
        Vector<double> sums = Vector<double>.Zero;
        int id = 0;
        for (; id <= logits.Length - Vector<float>.Count; id += Vector<float>.Count)
        {
            Vector.Widen(Vector.Exp(new Vector<float>(logits[id..]) - new Vector<float>(largest)), out Vector<double> low, out Vector<double> high);
            sums += low + high;
        }

        double sum = Vector.Sum(sums);
        for (; id < logits.Length; id++)
        {
            sum += MathF.Exp(logits[id] - largest);
        }

        return largest + Math.Log(sum);
    }

    private static void MakeExponentials(Span<float> values, float largest, float temperature)
    {
        int id = 0;
        for (; id <= values.Length - Vector<float>.Count; id += Vector<float>.Count)
        {
            Span<float> part = values[id..];
            Vector.Exp((new Vector<float>(part) - new Vector<float>(largest)) / new Vector<float>(temperature)).CopyTo(part);
        }

        for (; id < values.Length; id++)
        {
            values[id] = MathF.Exp((values[id] - largest) / temperature);
        }
    }

    private void Penalize()
    {
        foreach ((int id, int count) in _seen)
        {
            float value = _values[id];
            value = value > 0 ? value / _options.RepetitionPenalty : value * _options.RepetitionPenalty;
            _values[id] = value - _options.PresencePenalty - (count * _options.FrequencyPenalty);
        }
    }

    /// <summary>Makes probabilities, keeps the likely ones, draws one of them.</summary>
    private int Draw()
    {
        int count = _values.Length;
        for (int id = 0; id < count; id++)
        {
            _ids[id] = id;
        }

        MakeExponentials(_values, _values[IndexOfLargest(_values)], _options.Temperature);

        if (_options.TopK > 0 && _options.TopK < count)
        {
            SelectLargest(_options.TopK);
            count = _options.TopK;
        }

        // Min-p needs no order: the largest value is 1 now. Applied before top-p it would change top-p's sum, so it is applied after.
        count = _options.TopP < 1 ? KeepTopP(count) : count;
        if (_options.MinP > 0)
        {
            count = KeepAtLeast(_options.MinP, count);
        }

        // The draw walks ids in their order, as Backend.SampleTokens does: filters have moved what they kept.
        if (_options.TopP < 1 || (_options.TopK > 0 && _options.TopK < _values.Length))
        {
            Array.Sort(_ids, _values, 0, count);
        }

        double sum = 0;
        for (int i = 0; i < count; i++)
        {
            sum += _values[i];
        }

        double left = _random.NextDouble() * sum;
        for (int i = 0; i < count; i++)
        {
            left -= _values[i];
            if (left < 0)
            {
                return _ids[i];
            }
        }

        // Rounding may leave a crumb at the end: it belongs to the last token that has any probability.
        int last = count - 1;
        while (_values[last] == 0)
        {
            last--;
        }

        return _ids[last];
    }

    /// <summary>
    /// The most probable values that together reach top-p, largest first; looked for among a growing number of candidates.
    /// </summary>
    private int KeepTopP(int count)
    {
        double total = 0;
        for (int i = 0; i < count; i++)
        {
            total += _values[i];
        }

        for (int candidates = 64; ; candidates *= 8)
        {
            candidates = Math.Min(candidates, count);
            if (candidates < count)
            {
                SelectLargest(candidates, count);
            }

            Sort(candidates);
            double sum = 0;
            for (int i = 0; i < candidates; i++)
            {
                sum += _values[i];
                if (sum >= _options.TopP * total)
                {
                    return i + 1;
                }
            }

            if (candidates == count)
            {
                return count;
            }
        }
    }

    private int KeepAtLeast(float minimum, int count)
    {
        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            if (_values[i] >= minimum)
            {
                (_values[kept], _ids[kept]) = (_values[i], _ids[i]);
                kept++;
            }
        }

        return kept;
    }

    private void SelectLargest(int wanted) => SelectLargest(wanted, _values.Length);

    /// <summary>
    /// Quickselect: brings the <paramref name="wanted"/> largest of the first <paramref name="count"/> values to the front.
    /// </summary>
    private void SelectLargest(int wanted, int count)
    {
        int low = 0, high = count - 1;
        while (low < high)
        {
            int middle = low + ((high - low) / 2);
            (float pivot, int pivotId) = (_values[middle], _ids[middle]);
            int i = low, j = high;
            while (i <= j)
            {
                while (Before(_values[i], _ids[i], pivot, pivotId))
                {
                    i++;
                }

                while (Before(pivot, pivotId, _values[j], _ids[j]))
                {
                    j--;
                }

                if (i <= j)
                {
                    (_values[i], _values[j]) = (_values[j], _values[i]);
                    (_ids[i], _ids[j]) = (_ids[j], _ids[i]);
                    i++;
                    j--;
                }
            }

            if (wanted - 1 <= j)
            {
                high = j;
            }
            else if (wanted - 1 >= i)
            {
                low = i;
            }
            else
            {
                return;
            }
        }
    }

    /// <summary>Sorts the first values, largest first, equal ones by id.</summary>
    private void Sort(int count)
    {
        Array.Sort(_values, _ids, 0, count);
        Array.Reverse(_values, 0, count);
        Array.Reverse(_ids, 0, count);
        for (int from = 0; from < count;)
        {
            int to = from + 1;
            while (to < count && _values[to] == _values[from])
            {
                to++;
            }

            if (to - from > 1)
            {
                Array.Sort(_ids, from, to - from);
            }

            from = to;
        }
    }

    private static bool Before(float left, int leftId, float right, int rightId) => left > right || (left == right && leftId < rightId);
}
