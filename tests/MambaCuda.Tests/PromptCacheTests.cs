using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>A cache of prompts: what is found, what goes when there is no room, and that the text is the same.</summary>
public sealed class PromptCacheTests : IDisposable
{
    private static readonly MambaConfig Config = TinyModel.Config with { VocabularySize = 256, TieEmbeddings = false };
    private static readonly long BytesEach = MambaState.BytesFor(Config) + (256 * sizeof(float));

    private readonly TemporaryFolder _folder = new();
    private readonly CpuBackend _backend = new(threads: 2);
    private readonly RandomWeights _weights = new(Config, DataType.Float32, seed: 11);
    private readonly MambaModel _model;

    public PromptCacheTests() => _model = MambaModel.Create(Config, _weights.Tensors, _backend);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _model.Dispose();
        _weights.Dispose();
        _backend.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task A_prompt_that_begins_with_a_cached_one_goes_on_from_there()
    {
        using PromptCache cache = new(_model);
        Assert.Equal(await Greedy(null, "system: be brief. "), await Greedy(cache, "system: be brief. "));
        Assert.Equal((0, 1, 0), (cache.Hits, cache.Misses, cache.TokensSaved));
        Assert.Equal(await Greedy(null, "system: be brief. user: hi"), await Greedy(cache, "system: be brief. user: hi"));
        Assert.Equal((1, 1, "system: be brief. ".Length), (cache.Hits, cache.Misses, cache.TokensSaved));
    }

    [Fact]
    public async Task A_prompt_that_is_cached_as_a_whole_runs_nothing_and_gives_the_same_bits()
    {
        using PromptCache cache = new(_model);
        GenerationRequest request = new() { Prompt = "once", MaxTokens = 20, Sampling = new SamplingOptions { Seed = 5 } };
        List<GeneratedToken> alone = await Run(null, request);
        Assert.Equal(alone, await Run(cache, request));
        Assert.Equal(alone, await Run(cache, request));
        Assert.Equal((1, 4), (cache.Hits, cache.TokensSaved));
    }

    [Fact]
    public async Task A_conversation_goes_on_from_its_last_answer()
    {
        using PromptCache cache = new(_model);
        int[] prompt = [7, 8, 9], answer = [.. (await Run(cache, Ids(prompt, 10))).Select(token => token.Id)];
        int[] next = [.. prompt, .. answer, 1, 2];
        Assert.Equal(await Run(null, Ids(next, 10)), await Run(cache, Ids(next, 10)), SameIds);

        // The last token was chosen, but never run.
        Assert.Equal(prompt.Length + answer.Length - 1, cache.TokensSaved);
    }

    [Fact]
    public async Task A_batch_takes_what_there_is_of_each_prompt()
    {
        using PromptCache cache = new(_model);
        await Run(cache, Ids([1, 2, 3], 1));
        GenerationRequest[] requests = [Ids([1, 2, 3], 6), Ids([4, 5], 6), Ids([1, 2, 3, 4], 6), Ids([1, 2, 3], 6)];
        List<GeneratedToken> batch = [];
        await foreach (GeneratedToken token in new TextGenerator(_model, new ByteTokenizer(), new() { Cache = cache }).GenerateAsync(requests, Cancellation))
        {
            batch.Add(token);
        }

        Assert.Equal((3, 2, 9), (cache.Hits, cache.Misses, cache.TokensSaved));
        for (int i = 0; i < requests.Length; i++)
        {
            Assert.Equal(await Run(null, requests[i]), [.. batch.Where(token => token.Sequence == i)], SameIds);
        }
    }

    [Fact]
    public async Task What_was_used_the_longest_ago_goes_first()
    {
        using PromptCache cache = new(_model, new PromptCacheOptions { MaxMemoryBytes = (2 * BytesEach) + 1 });
        await Run(cache, Ids([1], 1));
        await Run(cache, Ids([2], 1));
        await Run(cache, Ids([1], 1));
        await Run(cache, Ids([3], 1));
        Assert.Equal(2, cache.Count);
        Assert.Equal([1, 0, 1], new[] { 1, 2, 3 }.Select(first => Found(cache, first)));
    }

    [Fact]
    public async Task A_folder_keeps_prompts_for_the_next_cache_and_what_memory_has_no_room_for()
    {
        PromptCacheOptions options = new() { Folder = _folder.File("cache"), MaxMemoryBytes = BytesEach };
        using (PromptCache first = new(_model, options))
        {
            await Run(first, Ids([1, 1], 1));
            await Run(first, Ids([2, 2], 1));
            Assert.Single(Files());
            Assert.Equal(2, Found(first, 1, 1));
            Assert.Null(first.WriteFailure);
        }

        Assert.Equal(2, Files().Length);
        using PromptCache second = new(_model, options);
        Assert.Equal([2, 2, 0], new[] { Found(second, 1, 1), Found(second, 2, 2), Found(second, 3, 3) });
        Assert.Equal(await Run(null, Ids([2, 2], 8)), await Run(second, Ids([2, 2], 8)));
    }

    [Fact]
    public async Task A_folder_has_a_limit_and_loses_the_oldest()
    {
        PromptCacheOptions options = new() { Folder = _folder.File("cache"), MaxMemoryBytes = BytesEach };
        using (PromptCache cache = new(_model, options))
        {
            await Run(cache, Ids([1], 1));
        }

        long bytes = new FileInfo(Files().Single()).Length;
        File.SetLastWriteTimeUtc(Files().Single(), DateTime.UtcNow.AddHours(-1));
        using (PromptCache cache = new(_model, options with { MaxDiskBytes = (2 * bytes) + 1 }))
        {
            await Run(cache, Ids([2], 1));
            await Run(cache, Ids([3], 1));
        }

        using PromptCache last = new(_model, options);
        Assert.Equal([0, 1, 1], new[] { 1, 2, 3 }.Select(first => Found(last, first)));
    }

    [Fact]
    public async Task Damaged_files_are_forgotten_and_other_models_left_alone()
    {
        PromptCacheOptions options = new() { Folder = _folder.File("cache") };
        using (PromptCache cache = new(_model, options))
        {
            await Run(cache, Ids([1], 1));
        }

        string file = Files().Single();
        byte[] whole = await File.ReadAllBytesAsync(file, Cancellation);
        string ofAnother = Path.Combine(_folder.File("cache"), "0000000000000000-00.prompt");
        await File.WriteAllBytesAsync(ofAnother, whole, Cancellation);
        for (int damaged = 0; damaged < whole.Length; damaged += 97)
        {
            byte[] bytes = [.. whole];
            bytes[damaged] ^= 0x10;
            await File.WriteAllBytesAsync(file, bytes, Cancellation);
            using PromptCache cache = new(_model, options);
            Assert.Equal(0, Found(cache, 1));
            Assert.False(File.Exists(file), $"byte {damaged}");
        }

        for (int length = 0; length < whole.Length; length += 61)
        {
            await File.WriteAllBytesAsync(file, whole[..length], Cancellation);
            using PromptCache cache = new(_model, options);
            Assert.Equal(0, Found(cache, 1));
        }

        Assert.Equal([ofAnother], Files());
        await File.WriteAllBytesAsync(file, whole, Cancellation);
        using PromptCache good = new(_model, options);
        Assert.Equal(1, Found(good, 1));
    }

    [Fact]
    public async Task A_folder_that_cannot_be_written_costs_the_cache_and_not_the_text()
    {
        string folder = _folder.File("cache");
        PromptCache cache = new(_model, new PromptCacheOptions { Folder = folder, MaxMemoryBytes = BytesEach });
        Directory.Delete(folder);
        Assert.Equal(await Run(null, Ids([1], 3)), await Run(cache, Ids([1], 3)));
        Assert.Equal(await Run(null, Ids([2], 3)), await Run(cache, Ids([2], 3)));
        Assert.IsType<DirectoryNotFoundException>(cache.WriteFailure);
        Assert.Throws<DirectoryNotFoundException>(cache.Flush);
        cache.Dispose();
    }

    [Fact]
    public async Task A_text_with_a_past_and_a_cancelled_one_leave_the_cache_alone()
    {
        using PromptCache cache = new(_model);
        await Run(cache, Ids([1, 2], 1));
        using MambaState state = _model.CreateState();
        using CancellationTokenSource cancelled = new();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (GeneratedToken token in new TextGenerator(_model, new ByteTokenizer(), new() { Cache = cache })
                .GenerateAsync(Ids([1, 2, 3], 4) with { State = state }, cancelled.Token))
            {
                Assert.Fail($"{token} was made");
            }
        });
        Assert.Equal(0, state.TokenCount());

        await Run(null, Ids([5], 1) with { State = state });
        await Run(cache, Ids([1, 2], 3) with { State = state });
        Assert.Equal((0, 1, 1), (cache.Hits, cache.Misses, cache.Count));

        // An empty state is no past.
        state.Reset();
        Assert.Equal(await Run(null, Ids([1, 2], 3)), await Run(cache, Ids([1, 2], 3) with { State = state }));
        Assert.Equal((1, 2 + 2), (cache.Hits, state.TokenCount()));
    }

    [Fact]
    public void Room_for_no_prompt_and_tokens_that_are_not_the_states_are_refused()
    {
        string message = Assert.Throws<ArgumentException>(
            () => new PromptCache(_model, new PromptCacheOptions { MaxMemoryBytes = BytesEach - 1 })).Message;
        Assert.Contains($"{BytesEach:N0} bytes", message, StringComparison.Ordinal);
        using PromptCache cache = new(_model);
        using MambaState state = _model.CreateState();
        Assert.Throws<ArgumentException>(() => cache.Store([1, 2], state, 0, new float[256]));
        Assert.Throws<ArgumentOutOfRangeException>(() => cache.Restore([1], state, 0, new float[3]));
    }

    private static GenerationRequest Ids(int[] prompt, int tokens) =>
        new() { PromptIds = prompt, MaxTokens = tokens, Sampling = SamplingOptions.Greedy };

    private static bool SameIds(List<GeneratedToken> first, List<GeneratedToken> second) =>
        first.Select(token => token.Id).SequenceEqual(second.Select(token => token.Id));

    private string[] Files() => Directory.GetFiles(_folder.File("cache"));

    private int Found(PromptCache cache, params int[] prompt)
    {
        using MambaState state = _model.CreateState();
        return cache.Restore(prompt, state, 0, new float[256]);
    }

    private async Task<string> Greedy(PromptCache? cache, string prompt) =>
        string.Concat((await Run(cache, new() { Prompt = prompt, MaxTokens = 12, Sampling = SamplingOptions.Greedy })).Select(token => token.Id));

    private async Task<List<GeneratedToken>> Run(PromptCache? cache, GenerationRequest request)
    {
        List<GeneratedToken> tokens = [];
        await foreach (GeneratedToken token in new TextGenerator(_model, new ByteTokenizer(), new() { Cache = cache }).GenerateAsync(request, Cancellation))
        {
            tokens.Add(token);
        }

        return tokens;
    }
}
