using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>On the CPU, in float32.</summary>
public sealed class CpuSpeculativeDecodingTests() : SpeculativeDecodingTests(ModelBackends.Open("cpu"), prompts: 25);

/// <summary>On CUDA, in float32; few, where the host device stands in for a card.</summary>
public sealed class CudaSpeculativeDecodingTests() : SpeculativeDecodingTests(
    ModelBackends.Open("cuda-float32"), prompts: HostDevice.IsInUse ? 2 : 25);

/// <summary>Texts with a draft are those of the model alone, and their states are behind exactly the tokens given.</summary>
public abstract class SpeculativeDecodingTests : IDisposable
{
    private static readonly MambaConfig Config = TinyModel.Config with { VocabularySize = 256, TieEmbeddings = false };

    private static readonly MambaConfig Small = Config with { HiddenSize = 20, IntermediateSize = 24, LayerCount = 1 };

    private readonly Backend _backend;
    private readonly int _prompts;
    private readonly RandomWeights _weights = new(Config, DataType.Float32, seed: 11);
    private readonly RandomWeights _otherWeights = new(Config, DataType.Float32, seed: 12);
    private readonly RandomWeights _smallWeights = new(Small, DataType.Float32, seed: 13);
    private readonly MambaModel _model;
    private readonly Dictionary<string, MambaModel> _drafts;

    protected SpeculativeDecodingTests(Backend backend, int prompts)
    {
        _backend = backend;
        _prompts = prompts;
        _model = MambaModel.Create(Config, _weights.Tensors, _backend);
        Dictionary<string, StoredTensor> near = new(_weights.Tensors);
        foreach (string name in near.Keys.Where(name => name.Contains("layers.1.mixer.out_proj", StringComparison.Ordinal)).ToArray())
        {
            near[name] = _otherWeights.Tensors[name];
        }

        _drafts = new Dictionary<string, MambaModel>
        {
            ["twin"] = MambaModel.Create(Config, _weights.Tensors, _backend),
            ["near"] = MambaModel.Create(Config, near, _backend),
            ["stranger"] = MambaModel.Create(Small, _smallWeights.Tensors, _backend),
        };
    }

    public static TheoryData<string, int> Drafts => new()
    {
        { "twin", 1 }, { "twin", 4 }, { "near", 1 }, { "near", 3 }, { "near", 8 }, { "stranger", 2 }, { "stranger", 5 },
    };

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static SamplingOptions[] Samplings =>
    [
        SamplingOptions.Greedy,
        new() { Temperature = 0.5f },
        new() { Temperature = 0.8f, TopK = 20, TopP = 0.9f },
        new() { Temperature = 0.3f, RepetitionPenalty = 1.3f, FrequencyPenalty = 0.2f, PresencePenalty = 0.1f },
        SamplingOptions.Greedy with { RepetitionPenalty = 1.5f },
    ];

    [Theory, MemberData(nameof(Drafts))]
    public async Task The_text_is_the_models_own_greedy_or_drawn(string draft, int count)
    {
        TextGenerator drafted = Drafted(draft, count);
        for (int prompt = 0; prompt < _prompts; prompt++)
        {
            int i = prompt * 25 / _prompts;
            foreach (SamplingOptions sampling in _prompts > 2 ? Samplings : [Samplings[0], Samplings[3]])
            {
                GenerationRequest request = new()
                {
                    PromptIds = TinyModel.RandomIds(1 + (i % 7), seed: i),
                    MaxTokens = 1 + (i % 26),
                    Sampling = sampling with { Seed = (ulong)i },
                };
                List<GeneratedToken> expected = await Run(Alone(), request), actual = await Run(drafted, request);
                Assert.Equal(Ids(expected), Ids(actual));
                Assert.Equal(expected[^1].FinishReason, actual[^1].FinishReason);
                Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First.LogProbability, pair.Second.LogProbability, 1e-4f));
            }
        }
    }

    [Fact]
    public async Task A_twin_has_all_accepted_and_a_stranger_few()
    {
        GenerationRequest request = new() { Prompt = "start", MaxTokens = 21, Sampling = SamplingOptions.Greedy };
        TextGenerator twin = Drafted("twin", 4), stranger = Drafted("stranger", 4), near = Drafted("near", 4);
        await Run(twin, request);
        await Run(near, request);
        await Run(stranger, request);

        // The first token is the prompt's; then five from each pass.
        Assert.Equal(new DraftCounts(4, 16, 16), twin.DraftCounts);
        Assert.Equal(1, twin.DraftCounts.AcceptedShare);
        Assert.InRange(stranger.DraftCounts.AcceptedShare, 0, 0.1);
        Assert.InRange(near.DraftCounts.AcceptedShare, 0.1, 0.9);
        Assert.Equal(CountsOf(_drafts["near"], [.. "start"u8.ToArray().Select(value => (int)value)], 21, 4), near.DraftCounts);
        foreach (DraftCounts counts in new[] { near.DraftCounts, stranger.DraftCounts })
        {
            // Every pass gives one token of its own.
            Assert.Equal(20, counts.Passes + counts.Accepted);
        }
    }

    [Theory, InlineData("twin"), InlineData("near"), InlineData("stranger")]
    public async Task Stopped_anywhere_a_text_leaves_its_state_behind_just_the_tokens_given(string draft)
    {
        GenerationRequest request = new() { Prompt = "start", MaxTokens = 20, Sampling = SamplingOptions.Greedy };
        int[] whole = Ids(await Run(Alone(), request));
        foreach (int stop in _prompts > 2 ? Enumerable.Range(1, 12) : [2, 6])
        {
            foreach (bool cancel in new[] { true, false })
            {
                using MambaState state = _model.CreateState();
                using CancellationTokenSource source = new();
                List<int> ids = [];
                try
                {
                    await foreach (GeneratedToken token in Drafted(draft, 4).GenerateAsync(request with { State = state }, source.Token))
                    {
                        ids.Add(token.Id);
                        if (ids.Count == stop && !cancel)
                        {
                            break;
                        }

                        if (ids.Count == stop)
                        {
                            await source.CancelAsync();
                        }
                    }

                    Assert.False(cancel);
                }
                catch (OperationCanceledException)
                {
                    Assert.True(cancel);
                }

                Assert.Equal(stop, ids.Count);
                Assert.Equal("start".Length + stop - 1, state.TokenCount());
                Assert.Equal([ids[^1]], state.PendingTokens().ToArray());
                AssertIsBehind(state, ["start"u8.ToArray(), .. ids[..^1].Select(id => new[] { (byte)id })]);
                ids.AddRange(Ids(await Run(Drafted(draft, 3), request with { Prompt = null, MaxTokens = 20 - stop, State = state })));
                Assert.Equal(whole, ids);
            }
        }
    }

    [Theory, InlineData("twin"), InlineData("near")]
    public async Task A_draft_with_a_state_of_its_own_follows_a_conversation(string name)
    {
        MambaModel draft = _drafts[name];
        using MambaState alone = _model.CreateState(), state = _model.CreateState(), guessing = draft.CreateState(), plain = draft.CreateState();
        TextGenerator drafted = Drafted(name, 4);
        List<int> known = [];

        // Of one token or more, and left where the draft is ahead, where it is not, and at the end.
        (int Tokens, int Stop)[] turns = [(5, 5), (12, 3), (12, 12), (1, 1), (12, 5), (9, 2), (12, 8), (7, 7)];
        for (int turn = 0; turn < turns.Length; turn++)
        {
            (int tokens, int stop) = turns[turn];
            GenerationRequest request = new()
            {
                PromptIds = TinyModel.RandomIds(3, seed: turn),
                MaxTokens = tokens,
                Sampling = SamplingOptions.Greedy with { RepetitionPenalty = turn < 6 ? 1 : 1.4f },
            };
            List<GeneratedToken> expected = await Some(Alone(), request with { State = alone }, stop);
            List<GeneratedToken> actual = await Some(drafted, request with { State = state, DraftState = guessing }, stop);
            Assert.Equal(Ids(expected), Ids(actual));
            Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First.LogProbability, pair.Second.LogProbability, 1e-4f));

            // The draft's state is behind the same tokens: its logits are those of a draft that has run them all.
            known.AddRange([.. request.PromptIds, .. Ids(actual)]);
            Assert.Equal(known.Count, state.TokenCount() + state.PendingTokens().Length);
            Assert.Equal(known.Count, guessing.TokenCount() + guessing.PendingTokens().Length);
            using MambaState copy = guessing.Clone();
            float[] logits = new float[256], whole = new float[256];
            draft.Forward(copy.PendingTokens(), SequenceLayout.Uniform(1, copy.PendingTokens().Length), copy, logits);
            plain.Reset();
            draft.Forward([.. known], SequenceLayout.Uniform(1, known.Count), plain, whole);
            Assert.InRange(Deviation.RelativeNorm(logits, whole), 0, 1e-5);
        }
    }

    [Theory, InlineData("twin"), InlineData("near")]
    public async Task Stop_tokens_and_strings_within_a_draft_end_the_text(string draft)
    {
        GenerationRequest request = new() { Prompt = "q", MaxTokens = 30, Sampling = SamplingOptions.Greedy with { RepetitionPenalty = 1.6f } };
        List<GeneratedToken> whole = await Run(Alone(), request);
        int[] ids = Ids(whole);
        foreach (int at in Enumerable.Range(1, 12).Take(_prompts).Where(at => Array.IndexOf(ids, ids[at]) == at))
        {
            using MambaState state = _model.CreateState();
            List<GeneratedToken> stopped = await Run(Drafted(draft, 4), request with { StopTokens = [ids[at]], State = state });
            Assert.Equal(ids[..(at + 1)], Ids(stopped));
            Assert.Equal(FinishReason.StopToken, stopped[^1].FinishReason);
            Assert.Equal((1 + at, 1), (state.TokenCount(), state.PendingTokens().Length));
            AssertIsBehind(state, ["q"u8.ToArray(), .. ids[..at].Select(id => new[] { (byte)id })]);
        }

        string text = string.Concat(whole.Select(token => token.Text)), stop = text.Substring(5, 2);
        List<GeneratedToken> cut = await Run(Drafted(draft, 4), request with { StopStrings = [stop] });
        Assert.Equal(text[..text.IndexOf(stop, StringComparison.Ordinal)], string.Concat(cut.Select(token => token.Text)));
        Assert.Equal(FinishReason.StopString, cut[^1].FinishReason);
    }

    [Theory, InlineData("twin"), InlineData("near")]
    public async Task A_prompt_cache_gets_and_gives_what_it_does_without_a_draft(string draft)
    {
        using PromptCache cache = new(_model);
        GenerationRequest request = new() { PromptIds = [7, 8, 9], MaxTokens = 10, Sampling = SamplingOptions.Greedy };
        TextGenerator drafted = Drafted(draft, 4, cache);
        int[] answer = Ids(await Run(drafted, request));
        Assert.Equal(Ids(await Run(Alone(), request)), answer);
        Assert.Equal(2, cache.Count);

        AssertKept(cache, [7, 8, 9, .. answer[..^1]]);

        // Texts that end within a pass too.
        int[] firsts = [.. Enumerable.Range(1, 8).Where(at => Array.IndexOf(answer, answer[at]) == at)];
        Assert.NotEmpty(firsts);
        foreach (int at in firsts)
        {
            using PromptCache own = new(_model);
            await Run(Drafted(draft, 4, own), request with { StopTokens = [answer[at]] });
            AssertKept(own, [7, 8, 9, .. answer[..at]]);
        }

        int[] ran = [7, 8, 9, .. answer[..^1]];
        long saved = cache.TokensSaved;
        GenerationRequest next = request with { PromptIds = [7, 8, 9, .. answer, 1, 2] };
        Assert.Equal(Ids(await Run(Alone(), next)), Ids(await Run(drafted, next)));
        Assert.Equal(saved + ran.Length, cache.TokensSaved);
    }

    [Fact]
    public async Task A_long_prompt_reaches_the_draft_in_pieces()
    {
        GenerationRequest request =
            new() { PromptIds = TinyModel.RandomIds(100, seed: 4), MaxTokens = 11, Sampling = SamplingOptions.Greedy };
        TextGenerator pieces = new(
            _model, new ByteTokenizer(), new() { Draft = _drafts["twin"], DraftTokens = 4, PromptChunkTokens = 16 });
        Assert.Equal(Ids(await Run(Alone(), request)), Ids(await Run(pieces, request)));
        Assert.Equal(new DraftCounts(2, 8, 8), pieces.DraftCounts);
    }

    [Fact]
    public void A_pass_leaves_its_checkpoint_between_what_is_certain_and_what_is_not()
    {
        int[] ids = TinyModel.RandomIds(30, seed: 3);
        using DeviceBuffer memory = _backend.Allocate(4L * 256 * sizeof(float));
        float[] every = new float[30 * 256], last = new float[4 * 256];
        using MambaState plain = _model.CreateState(), state = _model.CreateState();
        _model.Forward(ids, SequenceLayout.Uniform(1, 30), plain, every, every: true);
        using StateCheckpoint point = state.CreateCheckpoint();
        using CapturedPasses passes = new(_backend);
        foreach (int rows in new[] { 1, 4, 1, 4, 4 })
        {
            state.Reset();
            _model.Forward(ids.AsSpan(0, 20), SequenceLayout.Uniform(1, 20), state, []);
            MatrixView logits = memory.Matrix(DataType.Float32, rows, 256);
            _model.Extend(ids.AsSpan(20), state, logits, passes, point);
            _backend.Download(logits, last.AsSpan(0, rows * 256));
            Assert.InRange(Deviation.RelativeNorm(last.AsSpan(0, rows * 256), every.AsSpan((30 - rows) * 256)), 0, 1e-5);
            Assert.Equal((30, 30 - rows + 1), (state.TokenCount(), point.TokenCount()));

            point.RollBack();
            float[] again = new float[256];
            for (int i = 30 - rows + 1; i < 30; i++)
            {
                _model.Forward([ids[i]], SequenceLayout.Uniform(1, 1), state, again);
                Assert.InRange(Deviation.RelativeNorm(again, every.AsSpan(i * 256, 256)), 0, 1e-5);
            }
        }
    }

    [Fact]
    public async Task What_does_not_fit_is_named()
    {
        MambaConfig other = Small with { VocabularySize = 300 };
        using RandomWeights weights = new(other, DataType.Float32, seed: 1);
        using MambaModel stranger = MambaModel.Create(other, weights.Tensors, _backend);
        ArgumentException refused = Assert.Throws<ArgumentException>(() => new TextGenerator(_model, new ByteTokenizer(), new() { Draft = stranger }));
        Assert.Contains("300", refused.Message, StringComparison.Ordinal);
        Assert.Contains("256", refused.Message, StringComparison.Ordinal);

        using CpuBackend elsewhere = new(threads: 1);
        using MambaModel far = MambaModel.Create(Small, _smallWeights.Tensors, elsewhere);
        Assert.Contains(
            "another backend",
            Assert.Throws<ArgumentException>(() => new TextGenerator(_model, new ByteTokenizer(), new() { Draft = far })).Message,
            StringComparison.Ordinal);
        foreach (int count in new[] { 0, TextGeneratorOptions.MostDraftTokens + 1 })
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => Drafted("twin", count));
        }

        using MambaState ofModel = _model.CreateState();
        GenerationRequest request = new() { Prompt = "a", MaxTokens = 2 };
        GenerationRequest mistaken = request with { DraftState = ofModel };
        Assert.Contains(
            "must be the draft's", (await Assert.ThrowsAsync<ArgumentException>(() => Run(Drafted("twin", 2), mistaken))).Message, StringComparison.Ordinal);
        Assert.Contains(
            "has no draft", (await Assert.ThrowsAsync<ArgumentException>(() => Run(Alone(), mistaken))).Message, StringComparison.Ordinal);

        ArgumentException two = await Assert.ThrowsAsync<ArgumentException>(async () =>
        {
            await foreach (GeneratedToken token in Drafted("twin", 2).GenerateAsync([request, request], Cancellation))
            {
                Assert.Fail($"{token} was made");
            }
        });
        Assert.Contains("one text at a time", two.Message, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        foreach (MambaModel draft in _drafts.Values)
        {
            draft.Dispose();
        }

        _model.Dispose();
        _weights.Dispose();
        _otherWeights.Dispose();
        _smallWeights.Dispose();
        _backend.Dispose();
        GC.SuppressFinalize(this);
    }

    private static int[] Ids(List<GeneratedToken> tokens) => [.. tokens.Select(token => token.Id)];

    /// <summary>A state is as if just these bytes had run: its logits after one more token are.</summary>
    private void AssertIsBehind(MambaState state, IEnumerable<byte[]> bytes)
    {
        int[] ids = [.. bytes.SelectMany(part => part).Select(value => (int)value)];
        using MambaState copy = state.Clone(), plain = _model.CreateState();
        float[] actual = new float[256], expected = new float[256];
        _model.Forward(ids, SequenceLayout.Uniform(1, ids.Length), plain, []);
        _model.Forward([3], SequenceLayout.Uniform(1, 1), plain, expected);
        _model.Forward([3], SequenceLayout.Uniform(1, 1), copy, actual);
        Assert.InRange(Deviation.RelativeNorm(actual, expected), 0, 1e-5);
    }

    /// <summary>A cache has all of a text but its last token, and the logits that this was chosen from.</summary>
    private void AssertKept(PromptCache cache, int[] ran)
    {
        float[] kept = new float[256], expected = new float[256];
        using MambaState state = _model.CreateState(), plain = _model.CreateState();
        Assert.Equal(ran.Length, cache.Restore(ran, state, 0, kept));
        _model.Forward(ran, SequenceLayout.Uniform(1, ran.Length), plain, expected);
        Assert.InRange(Deviation.RelativeNorm(kept, expected), 0, 1e-5);
    }

    /// <summary>What a greedy text should count: every proposal made anew from all tokens before it.</summary>
    private DraftCounts CountsOf(MambaModel draft, int[] prompt, int tokens, int count)
    {
        int[] Greedy(MambaModel model, int[] start, int more)
        {
            List<int> ids = [.. start];
            float[] logits = new float[256];
            using MambaState state = model.CreateState();
            model.Forward(start, SequenceLayout.Uniform(1, start.Length), state, logits);
            while (ids.Count < start.Length + more)
            {
                ids.Add(Array.IndexOf(logits, logits.Max()));
                model.Forward([ids[^1]], SequenceLayout.Uniform(1, 1), state, logits);
            }

            return [.. ids[start.Length..]];
        }

        int[] text = Greedy(_model, prompt, tokens);
        DraftCounts counts = default;
        for (int known = 1; known < tokens;)
        {
            int proposed = Math.Min(count, tokens - known - 1);
            int[] proposals = Greedy(draft, [.. prompt, .. text[..known]], proposed);
            int accepted = proposals.Zip(text[known..]).TakeWhile(pair => pair.First == pair.Second).Count();
            counts = new DraftCounts(counts.Passes + 1, counts.Proposed + proposed, counts.Accepted + accepted);
            known += accepted + 1;
        }

        return counts;
    }

    private TextGenerator Alone() => new(_model, new ByteTokenizer());

    private TextGenerator Drafted(string draft, int count, PromptCache? cache = null) =>
        new(_model, new ByteTokenizer(), new() { Draft = _drafts[draft], DraftTokens = count, Cache = cache });

    private static Task<List<GeneratedToken>> Run(TextGenerator generator, GenerationRequest request) => Some(generator, request, int.MaxValue);

    /// <summary>The first tokens of a text, which is left then.</summary>
    private static async Task<List<GeneratedToken>> Some(TextGenerator generator, GenerationRequest request, int count)
    {
        List<GeneratedToken> tokens = [];
        await foreach (GeneratedToken token in generator.GenerateAsync(request, Cancellation))
        {
            tokens.Add(token);
            if (tokens.Count == count)
            {
                break;
            }
        }

        return tokens;
    }
}
