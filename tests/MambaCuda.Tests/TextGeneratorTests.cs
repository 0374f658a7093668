using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>On the CPU, where the host chooses the tokens.</summary>
public sealed class CpuTextGeneratorTests() : TextGeneratorTests(ModelBackends.Open("cpu"));

/// <summary>On CUDA, where the device chooses them, a step ahead; each sequence is to have what it has alone.</summary>
public sealed class CudaTextGeneratorTests() : TextGeneratorTests(
    ModelBackends.OpenCuda(new CudaBackendOptions { ActivationType = DataType.Float32, BatchInvariant = true }));

/// <summary>Generation: what it yields, where it ends, and in which state it leaves a sequence.</summary>
public abstract class TextGeneratorTests : IDisposable
{
    // Untied, because a random tied head hardly predicts anything but the token just read.
    private static readonly MambaConfig Config = TinyModel.Config with { VocabularySize = 256, TieEmbeddings = false };

    private readonly Backend _backend;
    private readonly RandomWeights _weights = new(Config, DataType.Float32, seed: 11);
    private readonly MambaModel _model;
    private readonly TextGenerator _generator;

    protected TextGeneratorTests(Backend backend)
    {
        _backend = backend;
        _model = MambaModel.Create(Config, _weights.Tensors, _backend);
        _generator = new TextGenerator(_model, new ByteTokenizer());
    }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Greedy_tokens_are_those_of_plain_steps()
    {
        int[] prompt = [1, 2, 3];
        List<GeneratedToken> tokens =
            await Run(new GenerationRequest { PromptIds = prompt, MaxTokens = 20, Sampling = SamplingOptions.Greedy });
        using MambaState state = _model.CreateState();
        float[] logits = new float[Config.VocabularySize];
        _model.Forward(prompt, SequenceLayout.Uniform(1, 3), state, logits);
        foreach (GeneratedToken token in tokens)
        {
            Assert.Equal(logits.AsSpan().IndexOf(logits.Max()), token.Id);
            _model.Forward([token.Id], SequenceLayout.Uniform(1, 1), state, logits);
        }

        Assert.Equal(20, tokens.Count);
        Assert.Equal(FinishReason.MaxTokens, tokens[^1].FinishReason);
        Assert.All(tokens[..^1], token => Assert.Equal(FinishReason.None, token.FinishReason));
    }

    [Fact]
    public async Task The_same_seed_gives_the_same_text_and_another_seed_another()
    {
        GenerationRequest request = new() { Prompt = "abc", MaxTokens = 30, Sampling = new SamplingOptions { Seed = 7, TopP = 0.95f } };
        int[] first = Ids(await Run(request)), second = Ids(await Run(request));
        int[] other = Ids(await Run(request with { Sampling = request.Sampling with { Seed = 8 } }));
        Assert.Equal(first, second);
        Assert.NotEqual(first, other);
    }

    [Fact]
    public async Task A_batch_gives_each_request_what_it_gets_alone()
    {
        GenerationRequest[] requests =
        [
            new() { Prompt = "a", MaxTokens = 5, Sampling = new SamplingOptions { Seed = 1 } },
            new() { Prompt = "a longer prompt", MaxTokens = 12, Sampling = new SamplingOptions { Seed = 2, Temperature = 0.5f } },
            new() { Prompt = "zz", MaxTokens = 1, Sampling = SamplingOptions.Greedy },
        ];
        List<GeneratedToken> batch = [];
        await foreach (GeneratedToken token in _generator.GenerateAsync(requests, Cancellation))
        {
            batch.Add(token);
        }

        for (int i = 0; i < requests.Length; i++)
        {
            Assert.Equal(Ids(await Run(requests[i])), Ids([.. batch.Where(token => token.Sequence == i)]));
        }
    }

    [Fact]
    public async Task Stopping_between_tokens_leaves_a_state_that_goes_on_as_if_nothing_had_been()
    {
        GenerationRequest request = new() { Prompt = "start", MaxTokens = 16, Sampling = SamplingOptions.Greedy };
        int[] whole = Ids(await Run(request));

        using MambaState state = _model.CreateState();
        using CancellationTokenSource stop = new();
        List<int> ids = [];
        await Assert.ThrowsAsync<OperationCanceledException>(async () =>
        {
            await foreach (GeneratedToken token in _generator.GenerateAsync(request with { State = state }, stop.Token))
            {
                ids.Add(token.Id);
                if (ids.Count == 6)
                {
                    await stop.CancelAsync();
                }
            }
        });
        Assert.Equal(6, ids.Count);
        Assert.Equal([ids[^1]], state.PendingTokens().ToArray());

        // Through bytes, as between two runs of a program.
        using MambaState later = _model.CreateState();
        later.Restore(state.Snapshot());
        ids.AddRange(Ids(await Run(request with { Prompt = null, MaxTokens = 10, State = later })));
        Assert.Equal(whole, ids);
    }

    [Fact]
    public async Task A_batch_leaves_its_states_where_each_text_ended()
    {
        using MambaState first = _model.CreateState(), second = _model.CreateState();
        GenerationRequest[] requests =
        [
            new() { Prompt = "one", MaxTokens = 3, Sampling = SamplingOptions.Greedy, State = first },
            new() { Prompt = "second", MaxTokens = 9, Sampling = SamplingOptions.Greedy, State = second },
        ];
        await foreach (GeneratedToken token in _generator.GenerateAsync(requests, Cancellation))
        {
            Assert.InRange(token.Sequence, 0, 1);
        }

        Assert.Equal(3 + 2, first.TokenCount());
        Assert.Equal(6 + 8, second.TokenCount());
        int[] whole = Ids(await Run(new GenerationRequest { Prompt = "one", MaxTokens = 7, Sampling = SamplingOptions.Greedy }));
        int[] rest = Ids(await Run(new GenerationRequest { MaxTokens = 4, Sampling = SamplingOptions.Greedy, State = first }));
        Assert.Equal(whole[3..], rest);
    }

    [Fact]
    public async Task Stop_tokens_and_stop_strings_end_the_text()
    {
        GenerationRequest request = new() { Prompt = "q", MaxTokens = 40, Sampling = new SamplingOptions { Seed = 3 } };
        int[] ids = Ids(await Run(request));
        int at = Array.FindIndex(ids, 3, id => !ids.AsSpan(0, 3).Contains(id));
        List<GeneratedToken> stopped = await Run(request with { StopTokens = [ids[at]] });
        Assert.Equal(ids[..(at + 1)], Ids(stopped));
        Assert.Equal(FinishReason.StopToken, stopped[^1].FinishReason);

        string text = string.Concat((await Run(request)).Select(token => token.Text));
        Assert.True(text.Length > 6);
        string stop = text.Substring(4, 2);
        List<GeneratedToken> cut = await Run(request with { StopStrings = [stop] });
        Assert.Equal(text[..text.IndexOf(stop, StringComparison.Ordinal)], string.Concat(cut.Select(token => token.Text)));
        Assert.Equal(FinishReason.StopString, cut[^1].FinishReason);
    }

    [Fact]
    public async Task What_cannot_be_served_is_named()
    {
        await Assert.ThrowsAsync<ArgumentException>(() => Run(new GenerationRequest { Prompt = "" }));
        await Assert.ThrowsAsync<ArgumentException>(() => Run(new GenerationRequest { PromptIds = [999] }));
        await Assert.ThrowsAsync<ArgumentException>(() => Run(new GenerationRequest { Prompt = "a", MaxTokens = 0 }));
        await Assert.ThrowsAsync<ArgumentException>(() => Run(new GenerationRequest { Prompt = "a", PromptIds = [1] }));
        await Assert.ThrowsAsync<ArgumentException>(() => Run(new GenerationRequest { Prompt = "a", StopStrings = [""] }));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(
            () => Run(new GenerationRequest { Prompt = "a", Sampling = new SamplingOptions { TopP = 0 } }));
    }

    public void Dispose()
    {
        _model.Dispose();
        _weights.Dispose();
        _backend.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task Many_texts_of_which_one_after_the_other_ends_are_those_of_each_alone()
    {
        MambaState[] states = [.. Enumerable.Range(0, 7).Select(_ => _model.CreateState())];
        GenerationRequest[] requests =
        [
            .. states.Select((state, i) => new GenerationRequest
            {
                Prompt = new string((char)('a' + i), i + 1),
                MaxTokens = 1 + ((i * 3) % 7),
                Sampling = new SamplingOptions { Seed = (ulong)i, RepetitionPenalty = i % 2 == 0 ? 1.2f : 1, TopK = 20 },
                State = state,
            }),
        ];
        List<GeneratedToken> batch = [];
        await foreach (GeneratedToken token in _generator.GenerateAsync(requests, Cancellation))
        {
            batch.Add(token);
        }

        for (int i = 0; i < requests.Length; i++)
        {
            using MambaState alone = _model.CreateState();
            List<GeneratedToken> expected = await Run(requests[i] with { State = alone });
            GeneratedToken[] actual = [.. batch.Where(token => token.Sequence == i)];
            Assert.Equal(Ids(expected), Ids([.. actual]));
            Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First.LogProbability, pair.Second.LogProbability, 1e-4f));
            Assert.Equal(alone.Snapshot(), states[i].Snapshot());
            states[i].Dispose();
        }
    }

    [Fact]
    public async Task A_batch_that_nobody_reads_to_its_end_leaves_its_states_behind_what_was_read()
    {
        using MambaState first = _model.CreateState(), second = _model.CreateState();
        GenerationRequest[] requests =
        [
            new() { Prompt = "one", MaxTokens = 9, Sampling = SamplingOptions.Greedy, State = first },
            new() { Prompt = "second", MaxTokens = 9, Sampling = SamplingOptions.Greedy, State = second },
        ];
        int read = 0;
        await foreach (GeneratedToken token in _generator.GenerateAsync(requests, Cancellation))
        {
            // The third token of the first text; the second has been given two.
            if (++read == 5)
            {
                break;
            }
        }

        Assert.Equal((3 + 2, 1), (first.TokenCount(), first.PendingTokens().Length));
        Assert.Equal((6 + 2, 0), (second.TokenCount(), second.PendingTokens().Length));
        int[] whole = Ids(await Run(requests[0] with { State = null, MaxTokens = 7 }));
        Assert.Equal(whole[3..], Ids(await Run(requests[0] with { Prompt = null, MaxTokens = 4 })));
    }

    private static int[] Ids(List<GeneratedToken> tokens) => [.. tokens.Select(token => token.Id)];

    private async Task<List<GeneratedToken>> Run(GenerationRequest request)
    {
        List<GeneratedToken> tokens = [];
        await foreach (GeneratedToken token in _generator.GenerateAsync(request, Cancellation))
        {
            tokens.Add(token);
        }

        return tokens;
    }
}
