namespace MambaCuda.Validation;

/// <summary>Steps [from, to) of each sequence of a packed batch, those sequences left out of which nothing is taken.</summary>
public sealed class PackedParts
{
    private readonly (int Sequence, int Row, int Length)[] _parts;

    /// <summary>Chooses the parts; <paramref name="part"/> is asked for every sequence.</summary>
    public PackedParts(int[] lengths, Func<int, (int From, int To)> part)
    {
        List<(int Sequence, int Row, int Length)> parts = [];
        int start = 0;
        for (int sequence = 0; sequence < lengths.Length; start += lengths[sequence++])
        {
            (int from, int to) = part(sequence);
            if (to > from)
            {
                parts.Add((sequence, start + from, to - from));
            }
        }

        _parts = [.. parts];
    }

    /// <summary>Puts rows of a matrix of what is taken to where they lie in one of all tokens.</summary>
    public void Scatter<T>(T[] rows, T[] matrix, int columns)
    {
        int at = 0;
        foreach ((_, int row, int length) in _parts)
        {
            Array.Copy(rows, at, matrix, row * columns, length * columns);
            at += length * columns;
        }
    }

    /// <summary>The length of each part.</summary>
    public int[] Lengths => [.. _parts.Select(part => part.Length)];

    /// <summary>Of a value a sequence, those of the sequences taken.</summary>
    public T[] Select<T>(T[] perSequence) => [.. _parts.Select(part => perSequence[part.Sequence])];

    /// <summary>Of a matrix of all tokens, the rows taken.</summary>
    public T[] Rows<T>(T[] matrix, int columns)
    {
        T[] rows = new T[_parts.Sum(part => part.Length) * columns];
        int at = 0;
        foreach ((_, int row, int length) in _parts)
        {
            Array.Copy(matrix, row * columns, rows, at, length * columns);
            at += length * columns;
        }

        return rows;
    }
}
