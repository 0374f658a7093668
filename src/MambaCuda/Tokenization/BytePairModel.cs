using System.Buffers;
using System.Runtime.InteropServices;

namespace MambaCuda;

/// <summary>
/// Byte pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units"): a word starts as its bytes; of all
/// neighbours that can merge, those of the lowest rank do, the leftmost first, until none can.
/// </summary>
/// <remarks>
/// Microsoft.ML.Tokenizers 2.0.1 merges 21,212 words of gpt-neox-20b's vocabulary to the same ids, but cannot stand here: it has no
/// <c>ignore_merges</c> (merges "b c" make 0, 5 of "abc", not its own token), it throws where a pair is merged twice in the file, and its
/// time grows with the square of a word's length (200,000 letters without a space: 12.1 s, here 0.46 s).
/// </remarks>
internal sealed class BytePairModel
{
    private const int SymbolsOnStack = 128;
    private const int Missing = -1;
    private const int None = -1;

    private readonly int[] _byteIds = new int[256];
    private readonly Dictionary<ulong, Merge> _merges;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>>? _wholeWords;
    private readonly int? _unknown;
    private readonly bool _fuseUnknown;
    private readonly WordCache _cache = new();

    /// <summary>Creates the model.</summary>
    /// <param name="ids">The ids of tokens, spelled in the <see cref="ByteLevelAlphabet"/>.</param>
    /// <param name="merges">What neighbours become, by <see cref="Pair"/>.</param>
    /// <param name="ignoreMerges">Whether a word that is a token as a whole is that token, whatever the merges make of it.</param>
    /// <param name="unknown">The token of bytes that have none; where null, they vanish.</param>
    /// <param name="fuseUnknown">Whether unknown bytes in a row are one token.</param>
    public BytePairModel(Dictionary<string, int> ids, Dictionary<ulong, Merge> merges, bool ignoreMerges, int? unknown, bool fuseUnknown)
    {
        _merges = merges;
        _wholeWords = ignoreMerges ? ids.GetAlternateLookup<ReadOnlySpan<char>>() : null;
        _unknown = unknown;
        _fuseUnknown = fuseUnknown;
        for (int value = 0; value < _byteIds.Length; value++)
        {
            _byteIds[value] = ids.TryGetValue(ByteLevelAlphabet.Character((byte)value).ToString(), out int id) ? id : Missing;
        }
    }

    /// <summary>What two neighbours become.</summary>
    /// <param name="Rank">Its place in the list of merges: the lowest goes first.</param>
    /// <param name="Id">The token that they become.</param>
    public readonly record struct Merge(int Rank, int Id);

    /// <summary>The key of two neighbours.</summary>
    public static ulong Pair(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    /// <summary>Adds the tokens of a word.</summary>
    /// <param name="word">The bytes of the word.</param>
    /// <param name="ids">Receives the ids.</param>
    public void Encode(ReadOnlySpan<byte> word, List<int> ids)
    {
        if (word.IsEmpty || _cache.TryGet(word, ids))
        {
            return;
        }

        int before = ids.Count;
        if (_wholeWords is not { } whole || !TryWholeWord(word, whole, ids))
        {
            MergeWord(word, ids);
        }

        _cache.Put(word, CollectionsMarshal.AsSpan(ids)[before..]);
    }

    private void MergeWord(ReadOnlySpan<byte> word, List<int> ids)
    {
        // The heap may hold an entry for each pair that there is and one that there was; so it gets twice the room.
        int[]? rented = word.Length > SymbolsOnStack ? ArrayPool<int>.Shared.Rent(word.Length * 4) : null;
        ulong[]? rentedHeap = word.Length > SymbolsOnStack ? ArrayPool<ulong>.Shared.Rent(word.Length * 2) : null;
        Span<int> symbols = rented ?? stackalloc int[SymbolsOnStack * 4];
        Span<ulong> heap = rentedHeap ?? stackalloc ulong[SymbolsOnStack * 2];

        int capacity = symbols.Length / 4;
        int count = Symbols(word, symbols[..capacity]);
        Span<int> next = symbols.Slice(capacity, count), previous = symbols.Slice(2 * capacity, count);
        MergeAll(symbols[..count], next, previous, symbols.Slice(3 * capacity, count), heap, ids);

        if (rented is not null)
        {
            ArrayPool<int>.Shared.Return(rented);
            ArrayPool<ulong>.Shared.Return(rentedHeap!);
        }
    }

    private static bool TryWholeWord(
        ReadOnlySpan<byte> word, Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> tokens, List<int> ids)
    {
        char[]? rented = word.Length > SymbolsOnStack ? ArrayPool<char>.Shared.Rent(word.Length) : null;
        Span<char> spelled = rented ?? stackalloc char[SymbolsOnStack];
        for (int i = 0; i < word.Length; i++)
        {
            spelled[i] = ByteLevelAlphabet.Character(word[i]);
        }

        bool found = tokens.TryGetValue(spelled[..word.Length], out int id);
        if (found)
        {
            ids.Add(id);
        }

        if (rented is not null)
        {
            ArrayPool<char>.Shared.Return(rented);
        }

        return found;
    }

    private int Symbols(ReadOnlySpan<byte> word, Span<int> symbols)
    {
        int count = 0;
        bool afterUnknown = false;
        foreach (byte value in word)
        {
            int id = _byteIds[value];
            if (id != Missing)
            {
                symbols[count++] = id;
                afterUnknown = false;
            }
            else if (_unknown is { } unknown && !(afterUnknown && _fuseUnknown))
            {
                symbols[count++] = unknown;
                afterUnknown = true;
            }
        }

        return count;
    }

    // A linked list of symbols and a heap of (rank, position): n log n, so that a megabyte without a space is no trap. An entry whose
    // pair has changed since is recognised by its rank, and dropped.
    private void MergeAll(Span<int> ids, Span<int> next, Span<int> previous, Span<int> ranks, Span<ulong> heap, List<int> result)
    {
        int entries = 0;
        for (int i = 0; i < ids.Length; i++)
        {
            next[i] = i + 1 < ids.Length ? i + 1 : None;
            previous[i] = i - 1;
            ranks[i] = None;
            if (i + 1 < ids.Length && _merges.TryGetValue(Pair(ids[i], ids[i + 1]), out Merge merge))
            {
                ranks[i] = merge.Rank;
                Push(heap, ref entries, Entry(merge.Rank, i));
            }
        }

        while (entries > 0)
        {
            ulong top = Pop(heap, ref entries);
            int position = (int)(uint)top, right = next[position];
            if (ranks[position] != (int)(top >> 32))
            {
                continue;
            }

            ids[position] = _merges[Pair(ids[position], ids[right])].Id;
            next[position] = next[right];
            ranks[right] = None;
            if (next[right] != None)
            {
                previous[next[right]] = position;
            }

            Rank(position, ids, next, ranks, heap, ref entries);
            if (previous[position] != None)
            {
                Rank(previous[position], ids, next, ranks, heap, ref entries);
            }
        }

        for (int i = ids.Length > 0 ? 0 : None; i != None; i = next[i])
        {
            result.Add(ids[i]);
        }
    }

    private void Rank(int position, Span<int> ids, Span<int> next, Span<int> ranks, Span<ulong> heap, ref int entries)
    {
        int right = next[position];
        if (right == None || !_merges.TryGetValue(Pair(ids[position], ids[right]), out Merge merge))
        {
            ranks[position] = None;
            return;
        }

        ranks[position] = merge.Rank;
        Push(heap, ref entries, Entry(merge.Rank, position));
    }

    private static ulong Entry(int rank, int position) => ((ulong)(uint)rank << 32) | (uint)position;

    private static void Push(Span<ulong> heap, ref int count, ulong entry)
    {
        int child = count++;
        while (child > 0 && heap[(child - 1) / 2] > entry)
        {
            heap[child] = heap[(child - 1) / 2];
            child = (child - 1) / 2;
        }

        heap[child] = entry;
    }

    private static ulong Pop(Span<ulong> heap, ref int count)
    {
        ulong top = heap[0], last = heap[--count];
        int hole = 0;
        for (int child = 1; child < count; child = (2 * hole) + 1)
        {
            if (child + 1 < count && heap[child + 1] < heap[child])
            {
                child++;
            }

            if (heap[child] >= last)
            {
                break;
            }

            heap[hole] = heap[child];
            hole = child;
        }

        heap[hole] = last;
        return top;
    }
}
