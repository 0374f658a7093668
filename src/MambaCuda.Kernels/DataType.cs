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
}
