using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>Batches from token files: every token is seen as often as it should be, and a step alone decides its batch.</summary>
public sealed class BatchTests : IDisposable
{
    private const int Vocabulary = 100_000;
    private readonly TemporaryFolder _folder = new();
    private readonly List<TokenFile> _open = [];

    public void Dispose()
    {
        _open.ForEach(file => file.Dispose());
        _folder.Dispose();
    }

    /// <summary>Documents whose tokens are 0, 1, 2, ...: an id is the place of its token.</summary>
    private TokenFile Tokens(params ReadOnlySpan<int> lengths)
    {
        _open.Add(TokenFile.Open(TinyTokens.Write(_folder, Vocabulary, lengths)));
        return _open[^1];
    }

    [Theory]
    [InlineData(101, 10, 3), InlineData(100, 10, 3), InlineData(2, 1, 1), InlineData(1000, 7, 16), InlineData(60, 59, 2)]
    public void An_epoch_of_contiguous_batches_has_every_sequence_once(int tokens, int length, int batchSize)
    {
        ContiguousBatches source = new(Tokens(tokens / 3, tokens - (tokens / 3)).All, batchSize, length, seed: 5);
        int samples = (tokens - 1) / length;
        Assert.Equal(samples, source.SampleCount);

        // As many steps as make whole epochs, whatever the batch.
        int[] seen = new int[samples];
        for (int step = 0; step < samples; step++)
        {
            TokenBatch batch = source.Batch(step);
            Assert.True(batch.Layout.IsUniform);
            Assert.Equal((batchSize, (long)length), (batch.Layout.Count, batch.Layout.MaxLength));
            for (int row = 0; row < batch.Tokens.Length; row++)
            {
                Assert.Equal(batch.Tokens[row] + 1, batch.Targets[row]);
                Assert.Equal(batch.Tokens[row / length * length] + (row % length), batch.Tokens[row]);
            }

            for (int i = 0; i < batchSize; i++)
            {
                Assert.Equal(0, batch.Tokens[i * length] % length);
                seen[batch.Tokens[i * length] / length]++;
            }
        }

        Assert.All(seen, count => Assert.Equal(batchSize, count));
    }

    [Fact]
    public void Contiguous_validation_sees_every_sequence_once_in_order_and_then_begins_anew()
    {
        ContiguousBatches source = new(Tokens(50).Slice(5, 37), batchSize: 4, length: 6, seed: null);
        Assert.Equal(2, source.StepsPerEpoch);
        Assert.Equal(Enumerable.Range(5, 24), source.Batch(0).Tokens.ToArray());
        Assert.Equal(Enumerable.Range(29, 12), source.Batch(1).Tokens.ToArray());
        Assert.Equal(Enumerable.Range(30, 12), source.Batch(1).Targets.ToArray());
        Assert.Equal(2, source.Batch(1).Layout.Count);
        Assert.Equal(source.Batch(0).Tokens, source.Batch(2).Tokens);
    }

    [Theory]
    [InlineData(10), InlineData(0), InlineData(1)]
    public void Too_few_tokens_for_a_sequence_are_told(int tokens)
    {
        TokenFile file = Tokens(tokens);
        TokenFileException refused = Assert.Throws<TokenFileException>(() => new ContiguousBatches(file.All, 1, 10, 1));
        Assert.Contains($"{tokens} tokens are fewer than the 11", refused.Message, StringComparison.Ordinal);
    }

    public static TheoryData<int[], int, ulong?, int> Packings => new()
    {
        { [5, 3, 9, 1, 0, 40, 2, 2, 11, 7], 10, 1, int.MaxValue },
        { [5, 3, 9, 1, 0, 40, 2, 2, 11, 7], 10, null, int.MaxValue },
        { [5, 3, 9, 1, 0, 40, 2, 2, 11, 7], 1, 2, int.MaxValue },
        { [5, 3, 9, 1, 0, 40, 2, 2, 11, 7], 1000, 3, int.MaxValue },
        { [5, 3, 9, 1, 0, 40, 2, 2, 11, 7], 1000, 3, 2 },
        { [0, 0, 2], 3, 9, 1 },
        { [11, 21, 31], 10, 9, 5 },
        { [2], 1, 0, 1 },
    };

    [Theory]
    [MemberData(nameof(Packings))]
    public void An_epoch_of_packed_batches_has_every_token_once(int[] lengths, int budget, ulong? seed, int sequenceLimit)
    {
        TokenFile file = Tokens(lengths);
        PackedBatches source = new(file.All, budget, seed, sequenceLimit);
        for (int epoch = 0; epoch < 2; epoch++)
        {
            List<int> seen = [];
            for (long step = 0; step < source.StepsPerEpoch; step++)
            {
                TokenBatch batch = source.Batch((epoch * source.StepsPerEpoch!.Value) + step);
                Assert.InRange(batch.Tokens.Length, 1, budget);
                Assert.InRange(batch.Layout.Count, 1, sequenceLimit);
                Assert.Equal(batch.Tokens.Length, batch.TargetCount);
                for (int i = 0; i < batch.Layout.Count; i++)
                {
                    int start = (int)batch.Layout.Starts[i], length = (int)(batch.Layout.Starts[i + 1] - start);
                    ReadOnlySpan<int> tokens = batch.Tokens.Slice(start, length);
                    TokenRange document = file.Document(file.DocumentOf(tokens[0]));
                    Assert.Equal(Enumerable.Range(tokens[0], length), tokens.ToArray());
                    Assert.Equal(Enumerable.Range(tokens[0] + 1, length), batch.Targets.Slice(start, length).ToArray());

                    // A whole document, or a piece of one that is longer than the budget.
                    Assert.Equal(0, (tokens[0] - document.Start) % budget);
                    Assert.Equal(Math.Min(budget, document.Start + document.Count - 1 - tokens[0]), length);
                }

                seen.AddRange(batch.Tokens);
            }

            // All tokens but the last of each document.
            Assert.Equal(
                Enumerable.Range(0, (int)file.TokenCount - 1).Where(id => file.DocumentOf(id) == file.DocumentOf(id + 1)), seen.Order());
        }
    }

    [Fact]
    public void Packed_batches_are_filled_as_far_as_the_next_document_allows()
    {
        PackedBatches source = new(Tokens(5, 3, 9, 1, 6).All, 10, seed: null);
        Assert.Equal(3, source.StepsPerEpoch);
        Assert.Equal([0, 4, 6], source.Batch(0).Layout.Starts);
        Assert.Equal([0, 8], source.Batch(1).Layout.Starts);
        Assert.Equal([0, 5], source.Batch(2).Layout.Starts);
        Assert.Equal([0, 1, 2, 3, 5, 6], source.Batch(0).Tokens);
    }

    [Fact]
    public void Packed_batches_of_a_slice_stay_in_it()
    {
        TokenFile file = Tokens(10, 10, 10);
        PackedBatches source = new(file.Slice(5, 20), 100, seed: null);
        Assert.Equal([0, 4, 13, 17], source.Batch(0).Layout.Starts);
        Assert.Equal([.. Enumerable.Range(5, 4), .. Enumerable.Range(10, 9), .. Enumerable.Range(20, 4)], source.Batch(0).Tokens.ToArray());
        Assert.Equal(24, source.Batch(0).Targets[^1]);
    }

    [Fact]
    public void Packed_epochs_and_seeds_differ_in_their_order()
    {
        TokenFile file = Tokens([.. Enumerable.Range(2, 60)]);
        PackedBatches one = new(file.All, 64, seed: 1), other = new(file.All, 64, seed: 2);
        long steps = one.StepsPerEpoch!.Value;
        int[][] first = [.. Steps(one, 0, steps)], second = [.. Steps(one, steps, steps)];
        Assert.NotEqual(first, second);
        Assert.Equal(first.Order(ById), second.Order(ById));
        Assert.NotEqual(first.Order(ById), Steps(other, 0, other.StepsPerEpoch!.Value).Order(ById));
    }

    [Theory]
    [InlineData(), InlineData(0), InlineData(1, 1, 0, 1)]
    public void Documents_without_two_tokens_are_told(params int[] lengths)
    {
        TokenFile file = Tokens(lengths);
        Assert.Contains(
            "none of its", Assert.Throws<TokenFileException>(() => new PackedBatches(file.All, 10, 1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_resumed_run_sees_what_the_first_would_have_seen()
    {
        TokenSlice tokens = Tokens([.. Enumerable.Range(0, 80)]).All;
        foreach (Func<BatchSource> make in new Func<BatchSource>[]
        {
            () => new ContiguousBatches(tokens, 3, 17, seed: 4),
            () => new PackedBatches(tokens, 50, seed: 4),
            () => new MixedBatches(9, (new ContiguousBatches(tokens, 3, 17, seed: 4), 3), (new PackedBatches(tokens, 50, seed: 4), 2)),
            () => new SelectiveCopyingTask(4, batchSize: 2, length: 20, dataTokens: 3),
            () => new InductionHeadsTask(4, batchSize: 2, length: 20),
        })
        {
            int[][] whole = [.. Steps(make(), 0, 200)];
            Assert.Equal(whole[150..], Steps(make(), 150, 50));
            BatchSource source = make();
            Assert.Equal(whole.Reverse(), Enumerable.Range(0, 200).Select(i => source.Batch(199 - i).Tokens.ToArray()));
            Assert.True(whole.Select(ids => string.Join(',', ids)).Distinct().Count() > 10);
            Assert.Throws<ArgumentOutOfRangeException>(() => source.Batch(-1));
        }
    }

    [Fact]
    public void A_mixture_keeps_its_shares_and_misses_no_step_of_its_parts()
    {
        TokenFile file = Tokens(1000);
        ContiguousBatches one = new(file.Slice(0, 501), 1, 10, seed: null), other = new(file.Slice(500, 500), 1, 10, seed: null);
        MixedBatches mixed = new(1, (one, 3), (other, 1));
        int[] starts = [.. Enumerable.Range(0, 64).Select(step => mixed.Batch(step).Tokens[0])];
        for (int block = 0; block < 16; block++)
        {
            Assert.Equal(3, starts[(block * 4)..][..4].Count(start => start < 500));
        }

        Assert.Equal(Enumerable.Range(0, 48).Select(i => i * 10), starts.Where(start => start < 500).Order());
        Assert.Equal(Enumerable.Range(0, 16).Select(i => 500 + (i * 10)), starts.Where(start => start >= 500).Order());
        int[] places = [.. Enumerable.Range(0, 16).Select(block => Array.FindIndex(starts[(block * 4)..][..4], start => start >= 500))];
        Assert.True(places.Distinct().Count() > 2);
        Assert.Equal(Vocabulary, mixed.VocabularySize);
        Assert.Throws<ArgumentException>(() => new MixedBatches(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MixedBatches(1, (one, 0)));
    }

    private static Comparer<int[]> ById { get; } = Comparer<int[]>.Create((a, b) => a[0].CompareTo(b[0]));

    private static IEnumerable<int[]> Steps(BatchSource source, long first, long count)
    {
        for (long step = first; step < first + count; step++)
        {
            yield return source.Batch(step).Tokens.ToArray();
        }
    }
}
