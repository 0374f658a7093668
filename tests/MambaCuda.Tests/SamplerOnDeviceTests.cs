using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>
/// The operation that samples on the device against the sampler on the host: the same tokens from the same seed, and draws that follow the
/// distribution.
/// </summary>
public sealed class SamplerOnDeviceTests
{
    private const int Vocabulary = 500;
    private const int Steps = 50;

    private static readonly SamplingOptions[] Rows =
    [
        new() { Seed = 1 },
        SamplingOptions.Greedy with { RepetitionPenalty = 1.5f, FrequencyPenalty = 0.4f, Seed = 2 },
        new() { Temperature = 0.7f, TopK = 40, Seed = 3 },
        new() { TopP = 0.8f, Seed = 4 },
        new() { MinP = 0.02f, Temperature = 1.5f, Seed = 5 },
        new()
        {
            TopK = 100,
            TopP = 0.95f,
            MinP = 0.01f,
            RepetitionPenalty = 1.2f,
            PresencePenalty = 0.3f,
            FrequencyPenalty = 0.1f,
            Seed = 6,
        },
    ];

    public static TheoryData<string, string> Distributions
    {
        get
        {
            TheoryData<string, string> data = [];
            foreach (string backend in new[] { "cpu", "cuda-float32" })
            {
                foreach (string variant in Variants.Keys)
                {
                    data.Add(backend, variant);
                }
            }

            return data;
        }
    }

    private static Dictionary<string, SamplingOptions> Variants { get; } = new()
    {
        ["greedy"] = SamplingOptions.Greedy,
        ["plain"] = new(),
        ["temperature"] = new() { Temperature = 0.6f },
        ["top-k"] = new() { TopK = 7 },
        ["top-p"] = new() { TopP = 0.8f },
        ["min-p"] = new() { MinP = 0.1f },
        ["repetition penalty"] = new() { RepetitionPenalty = 1.5f },
        ["presence penalty"] = new() { PresencePenalty = 0.8f },
        ["frequency penalty"] = new() { FrequencyPenalty = 0.4f },
        ["greedy with penalties"] = SamplingOptions.Greedy with { RepetitionPenalty = 2, FrequencyPenalty = 0.5f },
        ["all"] = new() { Temperature = 1.4f, TopK = 20, TopP = 0.9f, MinP = 0.05f, RepetitionPenalty = 1.2f, PresencePenalty = 0.2f },
    };

    [Theory, InlineData("cpu"), InlineData("cuda-float32")]
    public void The_same_seed_gives_the_same_tokens(string name)
    {
        using Backend backend = ModelBackends.Open(name);
        using DecodeMemory memory = new(backend, Rows.Length, Vocabulary, hasCounts: true);
        Sampler[] samplers = [.. Rows.Select(options => new Sampler(options, Vocabulary))];
        memory.Upload(samplers, Vocabulary);
        Random random = new(7);
        float[] logits = new float[Rows.Length * Vocabulary];
        for (int step = 0; step < Steps; step++)
        {
            for (int i = 0; i < logits.Length; i++)
            {
                logits[i] = (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 6);
            }

            byte[] results = Choose(backend, memory, logits);
            for (int row = 0; row < Rows.Length; row++)
            {
                SampledToken expected = samplers[row].Sample(logits.AsSpan(row * Vocabulary, Vocabulary)), actual = memory.Token(results, row);
                Assert.True(expected.Id == actual.Id, $"Step {step}, {Rows[row]}: {actual.Id} instead of {expected.Id}.");
                Assert.Equal(expected.LogProbability, actual.LogProbability, 1e-5f);
            }
        }
    }

    /// <summary>Each draw has a row and a seed of its own, and has seen the same tokens; another launch with the same seeds repeats them.</summary>
    [Theory, MemberData(nameof(Distributions))]
    public void Draws_follow_the_distribution(string name, string variant)
    {
        const int Tokens = 40, Draws = 4000, AtOnce = 500;
        using Backend backend = ModelBackends.Open(name);
        SamplingOptions options = Variants[variant];
        int[] seen = [3, 3, 3, 8, 11, 11, 30];
        Random random = new(3);
        float[] logits = [.. Enumerable.Range(0, Tokens).Select(_ => (float)((random.NextDouble() * 5) - 1))];
        float[] allLogits = [.. Enumerable.Repeat(logits, AtOnce).SelectMany(row => row)];
        int[] counts = new int[Tokens];
        using DecodeMemory memory = new(backend, AtOnce, Tokens, options.HasPenalties);
        for (int first = 0; first < Draws; first += AtOnce)
        {
            Sampler[] samplers = [.. Enumerable.Range(first, AtOnce).Select(i => new Sampler(options with { Seed = (ulong)i }, Tokens))];
            Array.ForEach(samplers, sampler => sampler.Observe(seen));
            memory.Upload(samplers, Tokens);
            byte[] results = Choose(backend, memory, allLogits);
            for (int row = 0; row < AtOnce; row++)
            {
                counts[memory.Token(results, row).Id]++;
            }

            if (first == 0)
            {
                memory.Upload(samplers, Tokens);
                Assert.Equal(results, Choose(backend, memory, allLogits));
            }
        }

        SamplingReference.AssertFollows(counts, SamplingReference.Probabilities(options, logits, seen));
    }

    private static byte[] Choose(Backend backend, DecodeMemory memory, float[] logits)
    {
        backend.Upload<float>(logits, memory.Logits[0]);
        backend.SampleTokens(memory.Sampling(memory.Logits[0], memory.Rows));
        byte[] results = new byte[memory.Results.Columns];
        backend.Download(memory.Results, results.AsSpan());
        return results;
    }
}
