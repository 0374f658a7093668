using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Sampling against plain formulae, and its draws against the probabilities they should have.</summary>
public sealed class SamplerTests
{
    private static readonly float[] Logits = [1.0f, 3.0f, 2.0f, -1.0f, 3.0f, 0.5f];

    [Fact]
    public void Greedy_takes_the_largest_and_of_equals_the_lower_id()
    {
        SampledToken token = new Sampler(SamplingOptions.Greedy, Logits.Length).Sample(Logits);
        Assert.Equal(1, token.Id);
        Assert.Equal(Math.Log(SamplingReference.Softmax(Logits, 1)[1]), token.LogProbability, 5);
    }

    public static TheoryData<string> Variants => ["plain", "temperature", "top-k", "top-p", "min-p", "penalties", "all"];

    [Theory]
    [MemberData(nameof(Variants))]
    public void Draws_follow_the_distribution(string variant)
    {
        SamplingOptions options = variant switch
        {
            "temperature" => new() { Temperature = 0.6f },
            "top-k" => new() { TopK = 3 },
            "top-p" => new() { TopP = 0.8f },
            "min-p" => new() { MinP = 0.2f },
            "penalties" => new() { RepetitionPenalty = 1.5f, PresencePenalty = 0.3f, FrequencyPenalty = 0.2f },
            "all" => new() { Temperature = 1.4f, TopK = 5, TopP = 0.9f, MinP = 0.1f, RepetitionPenalty = 1.2f },
            _ => new(),
        };
        int[] seen = [1, 1, 3];
        double[] expected = SamplingReference.Probabilities(options, Logits, seen);
        const int Draws = 20_000;
        int[] counts = new int[Logits.Length];
        Sampler endless = new(options with { Seed = 5, RepetitionPenalty = 1, PresencePenalty = 0, FrequencyPenalty = 0 }, Logits.Length);
        for (int i = 0; i < Draws; i++)
        {
            // Penalties count what was chosen before, so each draw under them has a sampler of its own.
            Sampler sampler = endless;
            if (options.HasPenalties)
            {
                sampler = new Sampler(options with { Seed = (ulong)i }, Logits.Length);
                sampler.Observe(seen);
            }

            counts[sampler.Sample(Logits).Id]++;
        }

        SamplingReference.AssertFollows(counts, expected);
    }

    [Fact]
    public void The_largest_k_of_a_large_vocabulary_are_found()
    {
        Random random = new(3);
        float[] logits = [.. Enumerable.Range(0, 50_280).Select(_ => (float)random.NextDouble() * 8)];
        HashSet<int> best = [.. logits.Select((logit, id) => (logit, id)).OrderByDescending(entry => entry.logit).ThenBy(entry => entry.id)
            .Take(40).Select(entry => entry.id)];
        Sampler sampler = new(new SamplingOptions { TopK = 40, Seed = 1 }, logits.Length);
        for (int i = 0; i < 200; i++)
        {
            Assert.Contains(sampler.Sample(logits).Id, best);
        }
    }

    [Fact]
    public void A_draw_allocates_nothing()
    {
        Sampler sampler = new(new SamplingOptions { TopK = 3, TopP = 0.9f, MinP = 0.01f, Seed = 1 }, Logits.Length);
        sampler.Sample(Logits);
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 100; i++)
            {
                sampler.Sample(Logits);
            }
        }));
    }

    [Fact]
    public void Damaged_logits_are_named()
    {
        Sampler sampler = new(new SamplingOptions { Seed = 1 }, 3);
        Assert.Contains(
            "token 1", Assert.Throws<ArithmeticException>(() => sampler.Sample([0, float.NaN, 0])).Message, StringComparison.Ordinal);
        Assert.Throws<ArithmeticException>(() => sampler.Sample([0, float.PositiveInfinity, 0]));
        Assert.Throws<ArithmeticException>(() => sampler.Sample([float.NegativeInfinity, float.NegativeInfinity, float.NegativeInfinity]));
        Assert.Equal(2, sampler.Sample([float.NegativeInfinity, float.NegativeInfinity, 0]).Id);
    }

    [Theory]
    [InlineData("a piece", " and more", "piece and", "a ", "piece and")]
    [InlineData("aa", "ab", "aab", "a", "aab")]
    [InlineData("xy", "z", "q", "xyz", null)]
    public void Stop_strings_are_found_across_pieces(string first, string second, string stop, string before, string? found)
    {
        StopMatcher matcher = new([stop, "never"]);
        string text = matcher.Append(first) + matcher.Append(second);
        text += matcher.Found is null ? matcher.Flush() : "";
        Assert.Equal(before, text);
        Assert.Equal(found, matcher.Found);
    }
}
