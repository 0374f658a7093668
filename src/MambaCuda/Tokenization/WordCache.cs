using System.IO.Hashing;

namespace MambaCuda;

/// <summary>
/// The tokens of words that came lately: text repeats its words, and looking one up costs far less than merging it. Of fixed size; a word
/// whose place is taken takes it over. Any number of threads use one without waiting: an entry does not change once it is there.
/// </summary>
internal sealed class WordCache
{
    private const int Places = 1 << 14;
    private const int LongestWord = 32;

    private readonly Entry?[] _entries = new Entry?[Places];

    /// <summary>Adds the tokens of a word, if it is known.</summary>
    public bool TryGet(ReadOnlySpan<byte> word, List<int> ids)
    {
        if (word.Length > LongestWord || Volatile.Read(ref _entries[Place(word)]) is not { } entry || !word.SequenceEqual(entry.Word))
        {
            return false;
        }

        ids.AddRange(entry.Ids.AsSpan());
        return true;
    }

    /// <summary>Keeps the tokens of a word for the next time.</summary>
    public void Put(ReadOnlySpan<byte> word, ReadOnlySpan<int> ids)
    {
        if (word.Length <= LongestWord)
        {
            Volatile.Write(ref _entries[Place(word)], new Entry(word.ToArray(), ids.ToArray()));
        }
    }

    private static int Place(ReadOnlySpan<byte> word) => (int)(XxHash3.HashToUInt64(word) % Places);

    private sealed record Entry(byte[] Word, int[] Ids);
}
