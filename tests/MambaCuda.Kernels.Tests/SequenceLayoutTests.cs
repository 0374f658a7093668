namespace MambaCuda.Kernels.Tests;

/// <summary>Which rows belong to which sequence.</summary>
public class SequenceLayoutTests
{
    [Fact]
    public void Equal_sequences_lie_one_after_the_other()
    {
        SequenceLayout layout = SequenceLayout.Uniform(3, 5);
        Assert.Equal([0, 5, 10, 15], layout.Starts.ToArray());
        Assert.Equal([0, 1, 2], layout.Slots.ToArray());
        Assert.Equal((3, 15, 5, 3), (layout.Count, layout.TotalLength, layout.MaxLength, layout.SlotCount));
    }

    [Fact]
    public void Packed_sequences_have_their_slots()
    {
        SequenceLayout layout = SequenceLayout.Packed([4, 1, 7], [5, 0, 2]);
        Assert.Equal([0, 4, 5, 12], layout.Starts.ToArray());
        Assert.Equal([5, 0, 2], layout.Slots.ToArray());
        Assert.Equal((3, 12, 7, 6), (layout.Count, layout.TotalLength, layout.MaxLength, layout.SlotCount));
        Assert.Equal([0, 1], SequenceLayout.Packed([1, 1]).Slots.ToArray());
    }

    [Fact]
    public void Rows_pass_32_bits()
    {
        Assert.Equal(4L * int.MaxValue, SequenceLayout.Uniform(4, int.MaxValue).TotalLength);
        Assert.Equal(3L * int.MaxValue, SequenceLayout.Packed([int.MaxValue, int.MaxValue, int.MaxValue]).TotalLength);
    }

    [Theory, InlineData(0, 1), InlineData(-1, 1), InlineData(1, 0), InlineData(1, -1)]
    public void An_empty_batch_is_refused(int batch, long length) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => SequenceLayout.Uniform(batch, length));

    [Theory]
    [InlineData(new int[0], null, "at least one sequence")]
    [InlineData(new[] { 3, 0 }, null, "Sequence 1 has length 0")]
    [InlineData(new[] { -2, 3 }, null, "Sequence 0 has length -2")]
    [InlineData(new[] { 1, 2 }, new[] { 0 }, "1 slots were given for 2 sequences")]
    [InlineData(new[] { 1, 2 }, new[] { 0, -1 }, "State slot -1 is negative or taken twice")]
    [InlineData(new[] { 1, 2 }, new[] { 7, 7 }, "State slot 7 is negative or taken twice")]
    [InlineData(new[] { 1, 2 }, new[] { 0, int.MaxValue }, "State slot 2147483647 is too large")]
    public void What_is_no_layout_is_refused(int[] lengths, int[]? slots, string expected)
    {
        ArgumentException exception = Assert.Throws<ArgumentException>(() => SequenceLayout.Packed(lengths, slots));
        Assert.Contains(expected, exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_the_caller_passed_in_is_copied()
    {
        int[] slots = [1, 0];
        SequenceLayout layout = SequenceLayout.Packed([1, 1], slots);
        slots[0] = 9;
        Assert.Equal([1, 0], layout.Slots.ToArray());
    }
}
