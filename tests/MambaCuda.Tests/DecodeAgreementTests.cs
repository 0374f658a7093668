using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>
/// Three ways to the logits behind each token of the same sequences: steps of a <see cref="DecodeLoop"/>, which a card runs as a captured
/// graph, passes over one token, and one pass over the whole sequence. By a model whose sizes the fast kernels take.
/// </summary>
public sealed class DecodeAgreementTests
{
    private const int PromptLength = 21;
    private const int Steps = 14;
    private const double Float32Bound = 1e-5;

    // Half a unit in the last place of bfloat16.
    private const double Rounding = 1.0 / 512;

    private static readonly MambaConfig Config = new()
    {
        VocabularySize = 136,
        HiddenSize = 64,
        IntermediateSize = 128,
        StateSize = 16,
        LayerCount = 3,
        InitializerRange = 0.3,
        TimeStepRank = 8,
        TieEmbeddings = false,
    };

    /// <summary>Backends, and how many sequences there are: for matrix-vector products, for few rows, for general products.</summary>
    public static TheoryData<string, int> Cases => new()
    {
        { "cpu", 1 }, { "cpu", 3 },
        { "cuda-float32", 1 }, { "cuda-float32", 3 }, { "cuda-float32", 12 },
        { "cuda-bfloat16", 1 }, { "cuda-bfloat16", 3 }, { "cuda-bfloat16", 12 },
    };

    [Theory, MemberData(nameof(Cases))]
    public void Loop_steps_and_whole_sequences_agree(string name, int rows)
    {
        // Weights that bfloat16 holds, so that all backends have the same ones.
        using RandomWeights weights = new(Config, DataType.BFloat16, seed: 17);
        using Backend backend = ModelBackends.Open(name);
        using MambaModel model = MambaModel.Create(Config, weights.Tensors, backend);
        (int[][] sequences, float[] looped) = Loop(model, rows);
        float[] stepped = Step(model, sequences), whole = Whole(model, sequences);
        if (backend.ActivationType == DataType.Float32)
        {
            AssertNear(looped, whole, Float32Bound);
            AssertNear(stepped, whole, Float32Bound);
            AssertNear(looped, stepped, Float32Bound);
            return;
        }

        // In 16 bits: each at most twice as far from float32 as the others are, and a rounding.
        using CpuBackend cpu = new(threads: 2);
        using MambaModel exact = MambaModel.Create(Config, weights.Tensors, cpu);
        float[] expected = Whole(exact, sequences);
        double[] errors = [.. new[] { looped, stepped, whole }.Select(logits => Deviation.RelativeNorm(logits, expected))];
        Assert.True(
            errors.Max() <= (2 * errors.Min()) + Rounding,
            $"relative norms of the errors: loop {errors[0]:g3}, steps {errors[1]:g3}, whole sequences {errors[2]:g3}");
    }

    /// <summary>Greedy texts, and the logits that each of their tokens was chosen from, row by row.</summary>
    private static (int[][] Sequences, float[] Logits) Loop(MambaModel model, int rows)
    {
        int vocabulary = Config.VocabularySize;
        int[][] sequences = [.. Enumerable.Range(0, rows).Select(row => Tokens(PromptLength, row))];
        float[] first = new float[rows * vocabulary], logits = new float[rows * Steps * vocabulary];
        using MambaState state = model.CreateState(rows);
        model.Forward([.. sequences.SelectMany(ids => ids)], SequenceLayout.Uniform(rows, PromptLength), state, first);
        using DecodeLoop loop = new(state, [.. sequences.Select(_ => new Sampler(SamplingOptions.Greedy, vocabulary))]);
        loop.Start(first);
        for (int step = 0; step < Steps; step++)
        {
            int[] chosen = [.. loop.Next().ToArray().Select(token => token.Id)];
            for (int row = 0; row < rows; row++)
            {
                sequences[row] = [.. sequences[row], chosen[row]];
                loop.CopyLogits(row, logits.AsSpan(((row * Steps) + step) * vocabulary, vocabulary));
            }
        }

        return (sequences, logits);
    }

    private static float[] Step(MambaModel model, int[][] sequences)
    {
        int vocabulary = Config.VocabularySize, rows = sequences.Length;
        float[] logits = new float[rows * Steps * vocabulary], last = new float[rows * vocabulary];
        using MambaState state = model.CreateState(rows);
        for (int t = 0; t < PromptLength + Steps - 1; t++)
        {
            int at = t;
            model.Forward([.. sequences.Select(ids => ids[at])], SequenceLayout.Uniform(rows, 1), state, last);
            for (int row = 0; row < rows && t >= PromptLength - 1; row++)
            {
                last.AsSpan(row * vocabulary, vocabulary).CopyTo(logits.AsSpan(((row * Steps) + t - PromptLength + 1) * vocabulary));
            }
        }

        return logits;
    }

    private static float[] Whole(MambaModel model, int[][] sequences)
    {
        int vocabulary = Config.VocabularySize, rows = sequences.Length, length = PromptLength + Steps - 1;
        float[] every = new float[rows * length * vocabulary], logits = new float[rows * Steps * vocabulary];
        using MambaState state = model.CreateState(rows);
        model.Forward([.. sequences.SelectMany(ids => ids[..length])], SequenceLayout.Uniform(rows, length), state, every, every: true);
        for (int row = 0; row < rows; row++)
        {
            every.AsSpan(((row * length) + PromptLength - 1) * vocabulary, Steps * vocabulary).CopyTo(logits.AsSpan(row * Steps * vocabulary));
        }

        return logits;
    }

    private static int[] Tokens(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(Config.VocabularySize))];
    }

    private static void AssertNear(float[] actual, float[] expected, double bound)
    {
        double error = Deviation.RelativeNorm(actual, expected);
        Assert.True(error <= bound, $"relative norm {error:g3}, bound {bound:g3}");
    }
}
