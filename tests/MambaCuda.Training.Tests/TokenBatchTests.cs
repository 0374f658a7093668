using MambaCuda.Kernels;

namespace MambaCuda.Training.Tests;

public sealed class TokenBatchTests
{
    [Fact]
    public void Ignored_targets_are_not_counted()
    {
        TokenBatch batch = new([1, 2, 3], [2, TokenBatch.IgnoredTarget, 4], SequenceLayout.Packed([2, 1]));
        Assert.Equal(2, batch.TargetCount);
        Assert.Equal([1, 2, 3], batch.Tokens);
        Assert.Equal([2, -1, 4], batch.Targets);
    }

    [Theory]
    [InlineData(2, 3), InlineData(3, 2), InlineData(4, 4)]
    public void Rows_that_disagree_are_refused(int tokens, int targets)
    {
        ArgumentException refused = Assert.Throws<ArgumentException>(
            () => new TokenBatch(new int[tokens], new int[targets], SequenceLayout.Uniform(1, 3)));
        Assert.Contains($"3 rows, but there are {tokens} tokens and {targets} targets", refused.Message, StringComparison.Ordinal);
    }
}
