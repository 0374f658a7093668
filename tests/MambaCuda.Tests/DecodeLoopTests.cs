using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>Steps that stay on the device, against passes of the model and choices on the host.</summary>
public sealed class DecodeLoopTests : IDisposable
{
    private const int Rows = 3;

    private static readonly MambaConfig Config = TinyModel.Config with { TieEmbeddings = false };

    private static readonly SamplingOptions[] Options =
    [
        SamplingOptions.Greedy,
        new() { Seed = 5, TopK = 30, RepetitionPenalty = 1.3f, FrequencyPenalty = 0.1f },
        new() { Seed = 6, TopP = 0.9f, Temperature = 0.8f },
    ];

    private readonly RandomWeights _weights = new(Config, DataType.Float32, seed: 21);

    /// <summary>In float32: in 16 bits a tie of two tokens may be broken otherwise by other kernels.</summary>
    public static TheoryData<string> Backends => ["cpu", "cuda-float32"];

    [Theory, MemberData(nameof(Backends))]
    public void Tokens_are_those_of_passes_and_choices_on_the_host(string backendName)
    {
        using Backend backend = ModelBackends.Open(backendName);
        using MambaModel model = MambaModel.Create(Config, _weights.Tensors, backend);
        using MambaState looped = model.CreateState(Rows), plain = model.CreateState(Rows);
        (float[] logits, int[] prompt) = (new float[Rows * Config.VocabularySize], TinyModel.RandomIds(Rows * 5, seed: 2));
        model.Forward(prompt, SequenceLayout.Uniform(Rows, 5), plain, logits);
        for (int row = 0; row < Rows; row++)
        {
            plain.CopySlot(row, looped, row);
        }

        Sampler[] onHost = Samplers(prompt), onDevice = Samplers(prompt);
        using DecodeLoop loop = new(looped, onDevice);
        loop.Start(logits);
        for (int step = 0; step < 12; step++)
        {
            SampledToken[] tokens = loop.Next(goOn: step % 4 != 3).ToArray();
            float[] own = new float[Config.VocabularySize];
            for (int row = 0; row < Rows; row++)
            {
                ReadOnlySpan<float> expected = logits.AsSpan(row * Config.VocabularySize, Config.VocabularySize);
                SampledToken chosen = onHost[row].Sample(expected);
                Assert.Equal(chosen.Id, tokens[row].Id);
                Assert.Equal(chosen.LogProbability, tokens[row].LogProbability, 1e-4f);
                loop.CopyLogits(row, own);
                for (int i = 0; i < own.Length; i++)
                {
                    Assert.Equal(expected[i], own[i], 1e-4f);
                }
            }

            if (step == 6)
            {
                // Another pass, larger than any before: it moves the memory that steps compute in.
                using MambaState other = model.CreateState();
                model.Forward(TinyModel.RandomIds(40, seed: 3), SequenceLayout.Uniform(1, 40), other, new float[Config.VocabularySize]);
            }

            if (step < 11)
            {
                model.Forward([.. tokens.Select(token => token.Id)], SequenceLayout.Uniform(Rows, 1), plain, logits);
            }
        }

        loop.Finish();
        using MambaState expectedState = plain.Clone();
        for (int row = 0; row < Rows; row++)
        {
            Assert.Equal(5 + 11, looped.TokenCount(row));
            Assert.Single(looped.PendingTokens(row).ToArray());
        }

        // Both go on alike.
        int[] next = [1, 2, 3];
        float[] left = new float[logits.Length], right = new float[logits.Length];
        model.Forward(next, SequenceLayout.Uniform(Rows, 1), looped, left);
        model.Forward(next, SequenceLayout.Uniform(Rows, 1), expectedState, right);
        Assert.All(left.Zip(right), pair => Assert.Equal(pair.First, pair.Second, 1e-4f));
    }

    [Theory, MemberData(nameof(Backends))]
    public void It_can_begin_with_tokens_and_end_at_once(string backendName)
    {
        using Backend backend = ModelBackends.Open(backendName);
        using MambaModel model = MambaModel.Create(Config, _weights.Tensors, backend);
        using MambaState state = model.CreateState(), plain = model.CreateState();
        byte[] before = state.Snapshot();
        using (DecodeLoop loop = new(state, [new Sampler(SamplingOptions.Greedy, Config.VocabularySize)]))
        {
            loop.Start([7]);
        }

        Assert.Equal([7], state.PendingTokens().ToArray());
        state.SetPendingTokens([]);
        Assert.Equal(before, state.Snapshot());

        float[] logits = new float[Config.VocabularySize];
        using (DecodeLoop loop = new(state, [new Sampler(SamplingOptions.Greedy, Config.VocabularySize)]))
        {
            loop.Start([7]);
            model.Forward([7], SequenceLayout.Uniform(1, 1), plain, logits);
            int chosen = loop.Next()[0].Id;
            Assert.Equal(Array.IndexOf(logits, logits.Max()), chosen);
            loop.Next();
        }

        Assert.Equal(2, state.TokenCount());
    }

    [Fact]
    public void Wrong_use_is_refused()
    {
        using CpuBackend backend = new(threads: 1);
        using MambaModel model = MambaModel.Create(Config, _weights.Tensors, backend);
        using MambaState state = model.CreateState(2);
        Sampler sampler = new(SamplingOptions.Greedy, Config.VocabularySize);
        Assert.Contains("1 samplers", Assert.Throws<ArgumentException>(() => new DecodeLoop(state, [sampler])).Message, StringComparison.Ordinal);
        using DecodeLoop loop = new(state, [sampler, sampler]);
        Assert.Throws<InvalidOperationException>(() => loop.Next().ToArray());
        Assert.Throws<ArgumentException>(() => loop.Start([1, Config.VocabularySize]));
        Assert.Throws<ArgumentException>(() => loop.Start([1]));
        loop.Start([1, 2]);
        Assert.Throws<InvalidOperationException>(() => loop.Start([1, 2]));
        loop.Finish();
        Assert.Throws<InvalidOperationException>(() => loop.Next().ToArray());
    }

    public void Dispose() => _weights.Dispose();

    private static Sampler[] Samplers(int[] prompt)
    {
        Sampler[] samplers = [.. Options.Select(options => new Sampler(options, Config.VocabularySize))];
        for (int row = 0; row < Rows; row++)
        {
            samplers[row].Observe(prompt.AsSpan(row * 5, 5));
        }

        return samplers;
    }
}
