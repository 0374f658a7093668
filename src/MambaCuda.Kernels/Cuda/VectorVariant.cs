namespace MambaCuda.Kernels;

/// <summary>The two forms of a kernel whose threads own neighbouring channels: as many as fill one access to memory, or one.</summary>
/// <param name="Type">The type that fills it.</param>
/// <param name="Elements">How many channels a thread owns.</param>
internal readonly record struct VectorVariant(DataType Type, int Elements)
{
    /// <summary>The most bytes that a thread accesses at once. Rows that start at multiples of this many bytes are aligned.</summary>
    public const int Bytes = 16;

    /// <summary>The types that activations can have.</summary>
    public static IReadOnlyList<DataType> ActivationTypes { get; } = [DataType.Float32, DataType.BFloat16, DataType.Float16];

    /// <summary>Both values of a switch.</summary>
    public static IReadOnlyList<bool> Either { get; } = [true, false];

    /// <summary>Both forms for every type.</summary>
    /// <param name="bytes">How many bytes a thread accesses at once.</param>
    public static IEnumerable<VectorVariant> All(int bytes) =>
        from type in ActivationTypes from elements in new[] { bytes / type.Size(), 1 } select new VectorVariant(type, elements);

    /// <summary>As in "vectors of 8".</summary>
    public override string ToString() => Elements == 1 ? "single elements" : $"vectors of {Elements}";

    /// <summary>The form for rows of so many channels, which are aligned or not.</summary>
    public static VectorVariant For(DataType type, int bytes, int channels, bool aligned)
    {
        int elements = bytes / type.Size();
        return new VectorVariant(type, aligned && channels % elements == 0 ? elements : 1);
    }
}
