namespace MambaCuda.Validation;

/// <summary>How the rows of operands lie in memory, which decides between forms of a kernel.</summary>
/// <param name="Name">What a case's name gets behind it; empty for the usual one.</param>
/// <param name="Gap">Elements between rows.</param>
public sealed record RowPlacement(string Name, int Gap)
{
    /// <summary>Rows of which none but perhaps the first starts at a multiple of 16 bytes.</summary>
    public static RowPlacement Usual { get; } = new("", GuardedMatrix.UsualGap);

    /// <summary>Rows that start at multiples of 16 bytes, where their length lets them.</summary>
    public static RowPlacement Aligned { get; } = new("aligned", GuardedMatrix.AlignedGap);

    /// <summary>The placements that make a difference for rows of so many elements.</summary>
    public static IReadOnlyList<RowPlacement> For(int columns) => columns % GuardedMatrix.AlignedGap == 0 ? [Usual, Aligned] : [Usual];

    /// <summary>
    /// The same with a weight that may be quantized, beside activations that are aligned then: others meet rounded weights, as linear
    /// layers by themselves show.
    /// </summary>
    public static IReadOnlyList<RowPlacement> For(int columns, bool isQuantized) => isQuantized ? [Aligned] : For(columns);

    /// <summary>The name of a case in this placement.</summary>
    public string Of(string caseName) => Name.Length == 0 ? caseName : $"{caseName} {Name}";
}
