namespace MambaCuda.Kernels;

/// <summary>The type of one stored element.</summary>
public enum DataType
{
    /// <summary>IEEE 754 binary32.</summary>
    Float32,

    /// <summary>bfloat16: the upper half of a binary32.</summary>
    BFloat16,

    /// <summary>IEEE 754 binary16.</summary>
    Float16,

    /// <summary>IEEE 754 binary64; in files and oracles only.</summary>
    Float64,

    /// <summary>64-bit signed integer; in files only.</summary>
    Int64,

    /// <summary>32-bit signed integer: token ids and row numbers.</summary>
    Int32,

    /// <summary>16-bit signed integer; in files only.</summary>
    Int16,

    /// <summary>8-bit signed integer; in files only.</summary>
    Int8,

    /// <summary>8-bit unsigned integer; in files only.</summary>
    UInt8,

    /// <summary>One byte, 0 or 1; in files only.</summary>
    Boolean,
}

/// <summary>What is known of a <see cref="DataType"/>.</summary>
public static class DataTypes
{
    /// <summary>The size of one element in bytes.</summary>
    public static int Size(this DataType type) => type switch
    {
        DataType.Float64 or DataType.Int64 => 8,
        DataType.Float32 or DataType.Int32 => 4,
        DataType.BFloat16 or DataType.Float16 or DataType.Int16 => 2,
        DataType.Int8 or DataType.UInt8 or DataType.Boolean => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a data type."),
    };

    /// <summary>Whether weights may be stored as this type: float32, bfloat16 or float16.</summary>
    public static bool IsWeightType(this DataType type) => type is DataType.Float32 or DataType.BFloat16 or DataType.Float16;

    /// <summary>Converts stored weights to float32, exactly.</summary>
    /// <param name="source">The stored elements, as many as <paramref name="destination"/> has.</param>
    /// <param name="type">Their type, a weight type.</param>
    /// <param name="destination">Where to put them.</param>
    /// <exception cref="ArgumentException">The type is no weight type, or the lengths do not match.</exception>
    public static unsafe void Widen(ReadOnlySpan<byte> source, DataType type, Span<float> destination)
    {
        if (!type.IsWeightType() || source.Length != (long)destination.Length * type.Size())
        {
            throw new ArgumentException($"{source.Length} bytes are not {destination.Length} weights of type {type}.", nameof(source));
        }

        fixed (byte* from = source)
        {
            fixed (float* to = destination)
            {
                StoredFloats.Widen(from, type, to, destination.Length);
            }
        }
    }
}
