using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>On the CPU.</summary>
public sealed class CpuPromptPiecesTests() : PromptPiecesTests(ModelBackends.Open("cpu"));

/// <summary>On CUDA, where each sequence is to have what it has alone, and texts that begin join those under way.</summary>
public sealed class CudaPromptPiecesTests() : PromptPiecesTests(
    ModelBackends.OpenCuda(new CudaBackendOptions { ActivationType = DataType.Float32, BatchInvariant = true }));

/// <summary>Prompts in pieces: the same texts, others are not held up, and a caller may stop between two.</summary>
public abstract class PromptPiecesTests : IDisposable
{
    private const int Piece = 8;
    private const int LongLength = 50;

    private static readonly MambaConfig Config = TinyModel.Config with { VocabularySize = 256, TieEmbeddings = false };

    private readonly Backend _backend;
    private readonly RandomWeights _weights = new(Config, DataType.Float32, seed: 11);
    private readonly MambaModel _model;

    protected PromptPiecesTests(Backend backend)
    {
        _backend = backend;
        _model = MambaModel.Create(Config, _weights.Tensors, _backend);
    }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static GenerationRequest Long => new()
    {
        PromptIds = TinyModel.RandomIds(LongLength, seed: 1),
        MaxTokens = 6,
        Sampling = SamplingOptions.Greedy,
    };

    [Theory, InlineData(1), InlineData(7), InlineData(25), InlineData(50), InlineData(1000)]
    public async Task The_text_is_the_same_however_its_prompt_is_cut(int piece)
    {
        AssertSame(await Run(new(_model, new ByteTokenizer()), [Long]), await Run(Pieces(piece), [Long]), 0);
    }

    [Fact]
    public async Task Texts_that_have_begun_get_a_token_after_each_piece_of_a_longer_prompt()
    {
        GenerationRequest[] requests =
        [
            Long,
            new() { Prompt = "ab", MaxTokens = 20, Sampling = new SamplingOptions { Seed = 2 } },
            new() { PromptIds = TinyModel.RandomIds(20, seed: 2), MaxTokens = 20, Sampling = SamplingOptions.Greedy },
            new() { Prompt = "z", MaxTokens = 1, Sampling = SamplingOptions.Greedy },
        ];
        List<GeneratedToken> tokens = await Run(Pieces(Piece), requests);
        for (int i = 0; i < requests.Length; i++)
        {
            AssertSame(await Run(Pieces(Piece), [requests[i]]), tokens, i);
        }

        // All begin in one pass; then the piece that each has more is a pass of its own, of the second longest first: two, then six.
        int[] firsts = [.. Enumerable.Range(0, 4).Select(i => tokens.FindIndex(token => token.Sequence == i))];
        Assert.Equal(1 + 2, tokens.Take(firsts[2]).Count(token => token.Sequence == 1));
        Assert.Equal(1 + 2 + 6, tokens.Take(firsts[0]).Count(token => token.Sequence == 1));
        Assert.Equal(1 + 6, tokens.Take(firsts[0]).Count(token => token.Sequence == 2));
    }

    [Fact]
    public async Task A_text_may_begin_just_when_another_has_ended()
    {
        List<GeneratedToken> expected = await Run(Pieces(Piece), [Long]);
        GenerationRequest small = new() { Prompt = "ab", Sampling = new SamplingOptions { Seed = 2 } };

        // The long prompt has seven pieces; the small text ends before the last of them, with it, and after it.
        for (int tokens = 6; tokens <= 9; tokens++)
        {
            List<GeneratedToken> both = await Run(Pieces(Piece), [Long, small with { MaxTokens = tokens }]);
            AssertSame(expected, both, 0);
            AssertSame(await Run(Pieces(Piece), [small with { MaxTokens = tokens }]), both, 1);
        }
    }

    [Fact]
    public async Task A_batch_stopped_within_a_prompt_keeps_the_rest_of_it_pending()
    {
        using MambaState behindLong = _model.CreateState(), behindShort = _model.CreateState();
        GenerationRequest small = new() { Prompt = "ab", MaxTokens = 20, Sampling = SamplingOptions.Greedy };
        int read = 0;
        await foreach (GeneratedToken token in Pieces(Piece)
            .GenerateAsync([Long with { State = behindLong }, small with { State = behindShort }], Cancellation))
        {
            Assert.Equal(1, token.Sequence);
            if (++read == 3)
            {
                break;
            }
        }

        Assert.Equal((2 + 2, 1), (behindShort.TokenCount(), behindShort.PendingTokens().Length));
        Assert.Equal(2 * Piece, behindLong.TokenCount());
        Assert.Equal(Long.PromptIds!.Skip(2 * Piece), behindLong.PendingTokens().ToArray());
        AssertSame(await Run(Pieces(Piece), [Long]), await Run(Pieces(Piece), [Long with { PromptIds = [], State = behindLong }]), 0);
    }

    [Fact]
    public async Task Cancellation_is_looked_at_between_two_pieces()
    {
        using MambaState state = _model.CreateState();
        using CancellationTokenSource cancel = new();
        _backend.Trace = new CancelAtPass(cancel, pass: 3);
        GenerationRequest request = Long with { State = state };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Run(Pieces(Piece), [request], cancel.Token));
        _backend.Trace = null;
        Assert.Equal((3 * Piece, LongLength - (3 * Piece)), (state.TokenCount(), state.PendingTokens().Length));

        // A draft's prompt too: its pieces come after the first token.
        using MambaState drafted = _model.CreateState();
        using CancellationTokenSource later = new();
        TextGenerator generator = new(_model, new ByteTokenizer(), new() { PromptChunkTokens = Piece, Draft = _model });
        _backend.Trace = new CancelAtPass(later, pass: 9);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Run(generator, [Long with { State = drafted }], later.Token));
        _backend.Trace = null;
        Assert.Equal((LongLength, 1), (drafted.TokenCount(), drafted.PendingTokens().Length));
        GenerationRequest rest = Long with { PromptIds = [], MaxTokens = 5, State = drafted };
        AssertSame((await Run(Pieces(Piece), [Long]))[1..], await Run(Pieces(Piece), [rest]), 0);
    }

    [Fact]
    public void A_piece_has_at_least_a_token() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Pieces(0));

    public void Dispose()
    {
        _model.Dispose();
        _weights.Dispose();
        _backend.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>A sequence of a batch has the tokens of a text alone, and their probabilities, by which states are told apart.</summary>
    private static void AssertSame(List<GeneratedToken> alone, List<GeneratedToken> batch, int sequence)
    {
        GeneratedToken[] tokens = [.. batch.Where(token => token.Sequence == sequence)];
        Assert.Equal(alone.Select(token => token.Id), tokens.Select(token => token.Id));
        Assert.All(alone.Zip(tokens), pair => Assert.Equal(pair.First.LogProbability, pair.Second.LogProbability, 1e-4f));
    }

    private static async Task<List<GeneratedToken>> Run(
        TextGenerator generator, GenerationRequest[] requests, CancellationToken? cancellation = null)
    {
        List<GeneratedToken> tokens = [];
        await foreach (GeneratedToken token in generator.GenerateAsync(requests, cancellation ?? Cancellation))
        {
            tokens.Add(token);
        }

        return tokens;
    }

    private TextGenerator Pieces(int tokens) => new(_model, new ByteTokenizer(), new() { PromptChunkTokens = tokens });

    /// <summary>Cancels while a pass runs: each begins with the embedding.</summary>
    private sealed class CancelAtPass(CancellationTokenSource source, int pass) : IOperationTrace
    {
        private int _passes;

        public void BeginPart(string name, int number)
        {
        }

        public void EndPart()
        {
        }

        public void BeginOperation(string name, OperationWork work)
        {
            if (name == nameof(Backend.EmbeddingForward) && ++_passes == pass)
            {
                source.Cancel();
            }
        }

        public void EndOperation()
        {
        }
    }
}
