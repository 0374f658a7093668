using System.Text.Json;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Which weights of a checkpoint are whole numbers with scales: those that activations are multiplied with, the four projections of each
/// layer and the head (see <see cref="QuantizedLayout"/> for how). The embedding is looked up, a row a token, so its bytes cost memory and no
/// time: it stays as it was, and where the head is tied to it, a quantized copy of it is stored as the head.
/// </summary>
/// <param name="Type">What the weights consist of.</param>
/// <param name="GroupSize">How many neighbouring weights share a scale, one of <see cref="QuantizedLayout.GroupSizesOf"/>.</param>
public sealed record QuantizationConfig(QuantizedType Type, int GroupSize)
{
    /// <summary>The field of config.json that describes it.</summary>
    internal const string Field = "quantization_config";

    private const string Method = "mamba-cuda";
    private const int Version = 1;
    private const string ScaleType = "bfloat16";

    private static readonly QuantizedType[] Types = [QuantizedType.Int8, QuantizedType.Int4];

    /// <summary>The group size where none is asked for: int8 needs no finer one, int4 does.</summary>
    public static int UsualGroupSize(QuantizedType type) => type == QuantizedType.Int8 ? 128 : 32;

    /// <summary>The layout of a weight's rows.</summary>
    /// <param name="columns">The inputs of the weight.</param>
    public QuantizedLayout Layout(int columns) => new(Type, columns, GroupSize);

    /// <summary>"int8 in groups of 128".</summary>
    public override string ToString() => $"{(Type == QuantizedType.Int8 ? "int8" : "int4")} in groups of {GroupSize}";

    /// <summary>The field of a configuration; null where there is none.</summary>
    internal static QuantizationConfig? Read(ConfigFields fields)
    {
        if (fields.OptionalObject(Field) is not { } own)
        {
            return null;
        }

        if (own.OptionalText("quant_method") is var method && method != Method)
        {
            throw fields.Refused(
                $"{Field}.quant_method is {(method ?? "").Quoted()}, but only '{Method}' is supported",
                "Quantize the original checkpoint by mamba-cuda convert --quantize");
        }

        if (own.Integer("version", 1, int.MaxValue) is var version && version != Version)
        {
            throw fields.Refused($"{Field}.version is {version}, but this program knows {Version} alone", "Use a newer one");
        }

        int bits = own.Integer("bits", 1, 16), groupSize = own.Integer("group_size", 1, int.MaxValue);
        if (!Types.Any(type => BitsOf(type) == bits))
        {
            throw fields.Refused($"{Field}.bits is {bits}, but must be {string.Join(" or ", Types.Select(BitsOf))}");
        }

        QuantizedType found = Types.First(type => BitsOf(type) == bits);
        if (!QuantizedLayout.GroupSizesOf(found).Contains(groupSize))
        {
            throw fields.Refused(
                $"{Field}.group_size is {groupSize}, but with {bits} bits must be {string.Join(" or ", QuantizedLayout.GroupSizesOf(found))}");
        }

        if (!own.Flag("symmetric", true))
        {
            throw fields.Refused($"{Field}.symmetric is false, but only symmetric numbers are supported");
        }

        if (own.OptionalText("scale_dtype") is { } scale && scale != ScaleType)
        {
            throw fields.Refused($"{Field}.scale_dtype is {scale.Quoted()}, but must be '{ScaleType}'");
        }

        own.RefuseOthers();
        return new QuantizationConfig(found, groupSize);
    }

    internal void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject(Field);
        json.WriteString("quant_method", Method);
        json.WriteNumber("version", Version);
        json.WriteNumber("bits", BitsOf(Type));
        json.WriteNumber("group_size", GroupSize);
        json.WriteBoolean("symmetric", true);
        json.WriteString("scale_dtype", ScaleType);
        json.WriteEndObject();
    }

    private static int BitsOf(QuantizedType type) => type == QuantizedType.Int8 ? 8 : 4;
}
