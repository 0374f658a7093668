namespace MambaCuda.Training.Tests;

/// <summary>The paper's synthetic tasks: their form, and that who solves them gets every answer right, who guesses does not.</summary>
public sealed class TaskTests
{
    [Theory]
    [InlineData(64, 4096, 16, 16), InlineData(3, 1, 1, 3), InlineData(2, 16, 16, 16), InlineData(1, 33, 5, 4)]
    public void Selective_copying_asks_for_the_data_in_its_order(int batchSize, int length, int dataTokens, int vocabulary)
    {
        SelectiveCopyingTask task = new(7, batchSize, length, dataTokens, vocabulary);
        TokenBatch batch = task.Batch(3);
        Assert.Equal((batchSize, (long)length + dataTokens, true), (batch.Layout.Count, batch.Layout.MaxLength, batch.Layout.IsUniform));
        Assert.Equal(batchSize * dataTokens, batch.TargetCount);
        for (int i = 0; i < batchSize; i++)
        {
            ReadOnlySpan<int> sequence = batch.Tokens.Slice(i * (length + dataTokens), length + dataTokens);
            int[] data = [.. sequence[..length].ToArray().Where(id => id != SelectiveCopyingTask.Noise)];
            Assert.Equal(dataTokens, data.Length);
            Assert.All(data, id => Assert.InRange(id, 1, vocabulary - 2));
            Assert.All(sequence[length..].ToArray(), id => Assert.Equal(vocabulary - 1, id));
            Assert.Equal(data, batch.Targets.Slice((i * (length + dataTokens)) + length, dataTokens).ToArray());
            Assert.All(
                batch.Targets.Slice(i * (length + dataTokens), length).ToArray(), id => Assert.Equal(TokenBatch.IgnoredTarget, id));
        }
    }

    /// <summary>Each of 8 places holds one of 2 data tokens in a quarter of all samples; 6 standard deviations of 4,000.</summary>
    [Fact]
    public void Selective_copying_prefers_no_place_and_no_token()
    {
        const int Samples = 4000, Length = 8;
        TokenBatch batch = new SelectiveCopyingTask(1, Samples, Length, dataTokens: 2, vocabularySize: 6).Batch(0);
        int[] byPlace = new int[Length], byToken = new int[6];
        for (int row = 0; row < batch.Tokens.Length; row++)
        {
            if (row % (Length + 2) < Length)
            {
                byPlace[row % (Length + 2)] += batch.Tokens[row] != 0 ? 1 : 0;
                byToken[batch.Tokens[row]]++;
            }
        }

        Assert.All(byPlace, count => Assert.InRange(count, 1000 - 165, 1000 + 165));
        Assert.All(byToken[1..5], count => Assert.InRange(count, 2000 - 233, 2000 + 233));
    }

    [Theory]
    [InlineData(8, 256, 16), InlineData(5, 3, 2), InlineData(3, 4, 3), InlineData(1, 1 << 20, 16)]
    public void Induction_heads_ask_for_what_stood_behind_the_special_token(int batchSize, int length, int vocabulary)
    {
        InductionHeadsTask task = new(7, batchSize, length, vocabulary);
        TokenBatch batch = task.Batch(1);
        Assert.Equal(batchSize, batch.TargetCount);
        for (int i = 0; i < batchSize; i++)
        {
            int[] sequence = batch.Tokens.Slice(i * length, length).ToArray();
            Assert.Equal(2, sequence.Count(id => id == vocabulary - 1));
            Assert.Equal(vocabulary - 1, sequence[^1]);
            int answer = sequence[Array.IndexOf(sequence, vocabulary - 1) + 1];
            Assert.InRange(answer, 0, vocabulary - 2);
            Assert.Equal(answer, batch.Targets[((i + 1) * length) - 1]);
        }

        Assert.Equal(Enumerable.Range(1, batchSize).Select(i => (i * length) - 1), batch.TargetRows());
    }

    [Fact]
    public void The_special_token_stands_at_every_place_and_before_every_token()
    {
        const int Samples = 3000, Length = 8, Vocabulary = 6;
        TokenBatch batch = new InductionHeadsTask(1, Samples, Length, Vocabulary).Batch(0);
        int[] byPlace = new int[Length - 2], byAnswer = new int[Vocabulary - 1];
        for (int i = 0; i < Samples; i++)
        {
            int place = batch.Tokens.Slice(i * Length, Length).IndexOf(Vocabulary - 1);
            byPlace[place]++;
            byAnswer[batch.Tokens[(i * Length) + place + 1]]++;
        }

        Assert.All(byPlace, count => Assert.InRange(count, 500 - 125, 500 + 125));
        Assert.All(byAnswer, count => Assert.InRange(count, 600 - 132, 600 + 132));
    }

    /// <summary>Knows the rules and nothing of the targets.</summary>
    private static int[] Solve(BatchSource task, TokenBatch batch)
    {
        int[] predicted = new int[batch.Tokens.Length];
        for (int i = 0; i < batch.Layout.Count; i++)
        {
            int start = (int)batch.Layout.Starts[i], end = (int)batch.Layout.Starts[i + 1];
            Queue<int> data = [];
            for (int row = start; row < end; row++)
            {
                int id = batch.Tokens[row], last = task.VocabularySize - 1;
                predicted[row] = data.Count > 0 && id == last ? data.Dequeue() : 0;
                if (task is SelectiveCopyingTask ? id > 0 && id != last : row > start && batch.Tokens[row - 1] == last)
                {
                    data.Enqueue(id);
                }
            }
        }

        return predicted;
    }

    [Fact]
    public void Who_knows_the_rules_is_always_right()
    {
        TokenAccuracy accuracy = default;
        foreach (BatchSource task in new BatchSource[] { new SelectiveCopyingTask(3, 16, 200), new InductionHeadsTask(3) })
        {
            for (int step = 0; step < 20; step++)
            {
                TokenBatch batch = task.Batch(step);
                accuracy += TokenAccuracy.Of(batch, Solve(task, batch));
            }
        }

        Assert.Equal(new TokenAccuracy((16 * 16 * 20) + (8 * 20), (16 * 16 * 20) + (8 * 20)), accuracy);
        Assert.Equal(1, accuracy.Share);
    }

    [Fact]
    public void Who_always_says_the_same_is_right_as_often_as_by_chance()
    {
        TokenBatch batch = new SelectiveCopyingTask(3, 250, 20).Batch(0);
        int[] predicted = new int[batch.Tokens.Length];
        predicted.AsSpan().Fill(5);
        TokenAccuracy accuracy = TokenAccuracy.Of(batch, predicted);
        Assert.Equal(4000, accuracy.Total);

        // 1 of 14, within 6 standard deviations.
        Assert.InRange(accuracy.Share, (1 / 14.0) - 0.025, (1 / 14.0) + 0.025);
        Assert.Throws<ArgumentException>(() => TokenAccuracy.Of(batch, predicted.AsSpan(1)));
    }

    [Fact]
    public void Steps_seeds_and_rows_are_different_samples()
    {
        InductionHeadsTask one = new(1, 4, 64), other = new(2, 4, 64);
        HashSet<string> seen = [];
        foreach (TokenBatch batch in new[] { one.Batch(0), one.Batch(1), other.Batch(0), other.Batch(1) })
        {
            for (int i = 0; i < 4; i++)
            {
                Assert.True(seen.Add(string.Join(',', batch.Tokens.Slice(i * 64, 64).ToArray())));
            }
        }
    }

    [Fact]
    public void Settings_without_meaning_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SelectiveCopyingTask(1, length: 15));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SelectiveCopyingTask(1, vocabularySize: 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SelectiveCopyingTask(1, batchSize: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SelectiveCopyingTask(1, batchSize: 1 << 20));
        Assert.Throws<ArgumentOutOfRangeException>(() => new InductionHeadsTask(1, length: 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => new InductionHeadsTask(1, vocabularySize: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new InductionHeadsTask(1, batchSize: 4096, length: 1 << 20));
    }
}
