using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>Each epoch has every sample once, in an order of its own, found from the place alone.</summary>
public sealed class SampleOrderTests
{
    [Theory]
    [InlineData(1), InlineData(2), InlineData(3), InlineData(63), InlineData(64), InlineData(65), InlineData(1000), InlineData(70_001)]
    public void Each_epoch_has_every_sample_once(int count)
    {
        SampleOrder order = new(count, seed: 7);
        for (long epoch = 0; epoch < 3; epoch++)
        {
            bool[] seen = new bool[count];
            for (int i = 0; i < count; i++)
            {
                ref bool sample = ref seen[order.At((epoch * count) + i)];
                Assert.False(sample);
                sample = true;
            }
        }
    }

    [Fact]
    public void Epochs_and_seeds_have_orders_of_their_own()
    {
        static long[] Order(ulong seed, long epoch) =>
            [.. Enumerable.Range(0, 50).Select(i => new SampleOrder(50, seed).At((epoch * 50) + i))];
        long[][] orders = [Order(1, 0), Order(1, 1), Order(2, 0), Order(2, 1)];
        for (int i = 0; i < orders.Length; i++)
        {
            for (int k = 0; k < i; k++)
            {
                Assert.InRange(orders[i].Zip(orders[k]).Count(pair => pair.First == pair.Second), 0, 10);
            }
        }
    }

    /// <summary>Over many epochs each sample comes at each place equally often: chi-squared of 8 x 8 counts, 49 degrees free.</summary>
    [Fact]
    public void No_sample_prefers_a_place()
    {
        const int Count = 8, Epochs = 8000;
        SampleOrder order = new(Count, seed: 3);
        double[,] counts = new double[Count, Count];
        for (long place = 0; place < Count * Epochs; place++)
        {
            counts[place % Count, order.At(place)]++;
        }

        double chiSquared = 0, expected = (double)Epochs / Count;
        foreach (double observed in counts)
        {
            chiSquared += (observed - expected) * (observed - expected) / expected;
        }

        // 0.1 % of truly random orders would be beyond.
        Assert.InRange(chiSquared, 18, 86);
    }

    [Fact]
    public void Neighbours_in_order_are_not_neighbours_in_the_file()
    {
        const int Count = 10_000;
        SampleOrder order = new(Count, seed: 3);
        int near = Enumerable.Range(0, Count - 1).Count(i => Math.Abs(order.At(i) - order.At(i + 1)) <= 10);
        Assert.InRange(near, 5, 50);
    }

    [Fact]
    public void Without_a_seed_nothing_moves()
    {
        SampleOrder order = new(5, null);
        Assert.Equal([0, 1, 2, 3, 4, 0, 1], Enumerable.Range(0, 7).Select(i => order.At(i)));
    }

    [Fact]
    public void A_trillion_samples_need_no_memory()
    {
        const long Count = 1_000_000_000_000;
        SampleOrder order = new(Count, seed: 1);
        HashSet<long> seen = [];
        long lowest = Count, highest = 0;
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (long i = 0; i < 1000; i++)
            {
                lowest = Math.Min(lowest, order.At(Count - 1000 + i));
                highest = Math.Max(highest, order.At(Count - 1000 + i));
            }
        }));
        Assert.InRange(lowest, 0, Count / 50);
        Assert.InRange(highest, Count - (Count / 50), Count - 1);
        for (long i = 0; i < 1000; i++)
        {
            Assert.True(seen.Add(order.At(i)));
        }
    }

    [Fact]
    public void Places_and_counts_are_checked()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SampleOrder(0, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SampleOrder(1, 1).At(-1));
    }
}
