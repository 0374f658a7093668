using System.Text;

namespace MambaCuda.Tests;

/// <summary>What is remembered of a word is that word's, whatever else came meanwhile and from whatever thread.</summary>
public sealed class WordCacheTests
{
    [Fact]
    public void A_word_has_its_own_tokens_or_none()
    {
        // Four times as many words as there are places: most are taken over.
        const int Words = 1 << 16;
        WordCache cache = new();
        for (int i = 0; i < Words; i++)
        {
            cache.Put(Word(i), Ids(i));
        }

        int known = 0;
        for (int i = 0; i < Words; i++)
        {
            List<int> ids = [-1];
            if (cache.TryGet(Word(i), ids))
            {
                known++;
                Assert.Equal([-1, .. Ids(i)], ids);
            }
            else
            {
                Assert.Equal([-1], ids);
            }
        }

        Assert.InRange(known, Words / 8, Words / 4);
    }

    [Fact]
    public void Threads_do_not_see_each_others_tokens()
    {
        WordCache cache = new();
        Parallel.For(0, 4, thread =>
        {
            Random random = new(thread);
            for (int i = 0; i < 100_000; i++)
            {
                int word = random.Next(20_000);
                List<int> ids = [];
                if (cache.TryGet(Word(word), ids))
                {
                    Assert.Equal(Ids(word), ids);
                }
                else
                {
                    cache.Put(Word(word), Ids(word));
                }
            }
        });
    }

    [Theory]
    [InlineData(1, true), InlineData(32, true), InlineData(33, false), InlineData(100_000, false)]
    public void Long_words_are_not_kept(int length, bool kept)
    {
        WordCache cache = new();
        byte[] word = new byte[length];
        cache.Put(word, [7]);
        List<int> ids = [];
        Assert.Equal(kept, cache.TryGet(word, ids));
        Assert.Equal(kept ? [7] : [], ids);
    }

    private static byte[] Word(int i) => Encoding.UTF8.GetBytes($"word {i}");

    private static int[] Ids(int i) => [.. Enumerable.Range(i, i % 4)];
}
