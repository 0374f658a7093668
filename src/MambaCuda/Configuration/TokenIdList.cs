using System.Collections;
using System.Runtime.CompilerServices;

namespace MambaCuda;

/// <summary>An immutable list of token ids that equals another of the same ids, so that configurations compare by value.</summary>
[CollectionBuilder(typeof(TokenIdList), nameof(Create))]
public sealed class TokenIdList : IReadOnlyList<int>, IEquatable<TokenIdList>
{
    private readonly int[] _ids;

    private TokenIdList(int[] ids) => _ids = ids;

    /// <inheritdoc/>
    public int Count => _ids.Length;

    /// <inheritdoc/>
    public int this[int index] => _ids[index];

    /// <summary>Creates a list.</summary>
    public static TokenIdList Create(ReadOnlySpan<int> ids) => new(ids.ToArray());

    /// <inheritdoc/>
    public IEnumerator<int> GetEnumerator() => ((IEnumerable<int>)_ids).GetEnumerator();

    /// <inheritdoc/>
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public bool Equals(TokenIdList? other) => other is not null && _ids.AsSpan().SequenceEqual(other._ids);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as TokenIdList);

    /// <inheritdoc/>
    public override int GetHashCode() => _ids.Aggregate(_ids.Length, HashCode.Combine);

    /// <inheritdoc/>
    public override string ToString() => $"[{string.Join(", ", _ids)}]";
}
