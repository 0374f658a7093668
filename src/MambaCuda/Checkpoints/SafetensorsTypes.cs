using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The names that safetensors gives to element types. Wide unsigned, 8-bit float and complex types, which it also has, are not read.
/// </summary>
internal static class SafetensorsTypes
{
    private static readonly (string Name, DataType Type)[] Names =
    [
        ("F32", DataType.Float32),
        ("BF16", DataType.BFloat16),
        ("F16", DataType.Float16),
        ("F64", DataType.Float64),
        ("I64", DataType.Int64),
        ("I32", DataType.Int32),
        ("I16", DataType.Int16),
        ("I8", DataType.Int8),
        ("U8", DataType.UInt8),
        ("BOOL", DataType.Boolean),
    ];

    public static string Known { get; } = string.Join(", ", Names.Select(entry => entry.Name));

    public static DataType? Parse(string name)
    {
        foreach ((string known, DataType type) in Names)
        {
            if (known == name)
            {
                return type;
            }
        }

        return null;
    }

    public static string Name(DataType type) => Names.First(entry => entry.Type == type).Name;
}
