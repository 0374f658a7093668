using System.Numerics;

namespace MambaCuda.Kernels;

/// <summary>What whole numbers a quantized weight consists of.</summary>
public enum QuantizedType
{
    /// <summary>From -127 to 127, one a byte.</summary>
    Int8,

    /// <summary>From -8 to 7, two a byte.</summary>
    Int4,
}

/// <summary>
/// How a row of a quantized weight is stored: whole numbers, and a scale, a bfloat16, for each group of neighbouring ones; a weight is its
/// number times the scale of its group. Rows are filled up with zeros to whole 64 bytes, which is what four threads read at once.
/// </summary>
/// <remarks>
/// Int8: two's complement, in order. Int4: each number plus 8, eight neighbours in a little-endian word of 32 bits, the first at bit 0, the
/// next at bit 16, then 4, 20, 8, 24, 12, 28: one shift and one mask give two neighbours in the two halves of a word.
/// </remarks>
public readonly record struct QuantizedLayout
{
    /// <summary>What a thread reads at once: rows start at multiples of it.</summary>
    public const int PieceBytes = 16;

    private const int RowMultiple = 64;

    private const int WordWeights = 8;
    private const int MostInt8 = 127;
    private const int LeastInt4 = -8;
    private const int MostInt4 = 7;

    // Weights below it are zero: the inverse of a scale must be finite.
    private const float LeastScale = 1e-30f;

    // How far the greatest magnitude of a group lies from zero, in steps: less than 7 or 8 leaves room, more cuts it off.
    private static readonly float[] ClippingLevels = [-7, -7.5f, -8, -8.5f, -9, -9.5f, -10, -11, 6.5f, 7, 7.5f, 8, 8.5f, 9, 10];

    /// <summary>Describes rows.</summary>
    /// <param name="type">What they consist of.</param>
    /// <param name="columns">The weights of a row.</param>
    /// <param name="groupSize">How many weights share a scale, one of <see cref="GroupSizesOf"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is not one of those.</exception>
    public QuantizedLayout(QuantizedType type, int columns, int groupSize)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        if (!GroupSizesOf(type).Contains(groupSize))
        {
            throw new ArgumentOutOfRangeException(
                nameof(groupSize), groupSize, $"Groups of {type} have {string.Join(", ", GroupSizesOf(type))} weights.");
        }

        Type = type;
        Columns = columns;
        GroupSize = groupSize;
    }

    /// <summary>What the rows consist of.</summary>
    public QuantizedType Type { get; }

    /// <summary>The weights of a row.</summary>
    public int Columns { get; }

    /// <summary>How many weights share a scale.</summary>
    public int GroupSize { get; }

    /// <summary>The scales of a row; the last may be of fewer weights.</summary>
    public int Groups => (int)(((long)Columns + GroupSize - 1) / GroupSize);

    /// <summary>The bytes of a row's numbers.</summary>
    public int RowBytes
    {
        get
        {
            long bytes = Type == QuantizedType.Int8 ? Columns : ((long)Columns + 1) / 2;
            return checked((int)((bytes + RowMultiple - 1) / RowMultiple * RowMultiple));
        }
    }

    /// <summary>The element type of the matrix of bytes.</summary>
    public DataType StoredType => StoredTypeOf(Type);

    /// <summary>The weights of what a thread reads at once.</summary>
    internal int PieceWeights => Type == QuantizedType.Int8 ? PieceBytes : 2 * PieceBytes;

    /// <summary>The group sizes that kernels know: what four threads read of a row at once is of one group, or of four of 32.</summary>
    public static IReadOnlyList<int> GroupSizesOf(QuantizedType type) => type == QuantizedType.Int8 ? Int8GroupSizes : Int4GroupSizes;

    /// <summary>The element type of the matrix of bytes of a quantized weight.</summary>
    public static DataType StoredTypeOf(QuantizedType type) => type == QuantizedType.Int8 ? DataType.Int8 : DataType.UInt8;

    private static int[] Int8GroupSizes { get; } = [64, 128];

    private static int[] Int4GroupSizes { get; } = [32, 64, 128];

    /// <summary>
    /// Chooses the scales of a row. Int8: the greatest magnitude of a group is 127 steps or a little less. Int4: of some places for the
    /// greatest magnitude, some of which cut it off, that with the least sum of squared errors; either sign, since there is one number more
    /// below zero than above.
    /// </summary>
    /// <param name="row">The weights.</param>
    /// <param name="scales">Their scales, bits of bfloat16.</param>
    /// <returns>False where a weight is not finite.</returns>
    public bool FindScales(ReadOnlySpan<float> row, Span<ushort> scales)
    {
        CheckRow(row.Length, scales.Length);
        for (int group = 0; group < Groups; group++)
        {
            ReadOnlySpan<float> weights = Group(row, group);
            float greatest = 0;
            foreach (float weight in weights)
            {
                if (!float.IsFinite(weight))
                {
                    return false;
                }

                greatest = MathF.Abs(weight) > MathF.Abs(greatest) ? weight : greatest;
            }

            scales[group] = MathF.Abs(greatest) < LeastScale ? (ushort)0
                : Type == QuantizedType.Int8 ? Int8Scale(MathF.Abs(greatest))
                : Int4Scale(weights, greatest);
        }

        return true;
    }

    /// <summary>Rounds a row to the nearest numbers that its scales let it have.</summary>
    /// <param name="row">The weights.</param>
    /// <param name="scales">Their scales, bits of bfloat16.</param>
    /// <param name="values">Where to put the numbers: <see cref="RowBytes"/>.</param>
    public void Quantize(ReadOnlySpan<float> row, ReadOnlySpan<ushort> scales, Span<byte> values)
    {
        CheckRow(row.Length, scales.Length, values.Length);
        values.Fill((byte)(Type == QuantizedType.Int8 ? 0 : 0x88));
        for (int group = 0; group < Groups; group++)
        {
            float scale = ScaleOf(scales[group]), inverse = scale == 0 ? 0 : 1 / scale;
            ReadOnlySpan<float> weights = Group(row, group);
            for (int i = 0; i < weights.Length; i++)
            {
                int column = (group * GroupSize) + i;
                float steps = MathF.Round(weights[i] * inverse);
                if (Type == QuantizedType.Int8)
                {
                    values[column] = unchecked((byte)(sbyte)Math.Clamp(steps, -MostInt8, MostInt8));
                }
                else
                {
                    (int at, int shift) = PlaceOf(column);
                    int number = (int)Math.Clamp(steps, LeastInt4, MostInt4) - LeastInt4;
                    values[at] = (byte)((values[at] & ~(0xF << shift)) | (number << shift));
                }
            }
        }
    }

    /// <summary>The weights of a row, each exact.</summary>
    /// <param name="values">The numbers.</param>
    /// <param name="scales">The scales, bits of bfloat16.</param>
    /// <param name="row">Where to put the weights.</param>
    public void Dequantize(ReadOnlySpan<byte> values, ReadOnlySpan<ushort> scales, Span<float> row)
    {
        CheckRow(row.Length, scales.Length, values.Length);
        for (int column = 0; column < row.Length; column++)
        {
            int number = (sbyte)values[Type == QuantizedType.Int8 ? column : 0];
            if (Type == QuantizedType.Int4)
            {
                (int at, int shift) = PlaceOf(column);
                number = ((values[at] >> shift) & 0xF) + LeastInt4;
            }

            row[column] = number * ScaleOf(scales[column / GroupSize]);
        }
    }

    /// <summary>The scale of its bits.</summary>
    internal static float ScaleOf(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>The byte of a row that has the number of a column of Int4, and where in it.</summary>
    private static (int Byte, int Shift) PlaceOf(int column)
    {
        int within = column % WordWeights, bit = (within / 2 * 4) + (within % 2 * 16);
        return ((column / WordWeights * sizeof(uint)) + (bit / 8), bit % 8);
    }

    /// <summary>Rounded up, so that 127 steps reach the greatest magnitude.</summary>
    private static ushort Int8Scale(float greatest)
    {
        uint bits = BitConverter.SingleToUInt32Bits(greatest / MostInt8);
        return (ushort)((bits + 0xFFFF) >> 16);
    }

    private static ushort Int4Scale(ReadOnlySpan<float> weights, float greatest)
    {
        ushort best = 0;
        float least = float.PositiveInfinity;
        foreach (float level in ClippingLevels)
        {
            ushort bits = Nearest(greatest / level);
            (float error, float refined) = Int4Error(weights, ScaleOf(bits));
            if (error < least || best == 0)
            {
                (least, best) = (error, bits);

                // The scale with the least squared error for the numbers that this one gives; they may then be others.
                bits = Nearest(refined);
                error = MathF.Abs(refined) < LeastScale ? least : Int4Error(weights, ScaleOf(bits)).Error;
                if (error < least)
                {
                    (least, best) = (error, bits);
                }
            }
        }

        return best;
    }

    /// <summary>The sum of squared errors, and the scale that would make it least.</summary>
    private static (float Error, float Refined) Int4Error(ReadOnlySpan<float> weights, float scale)
    {
        float inverse = 1 / scale, error = 0, products = 0, squares = 0;
        int i = 0;
        if (weights.Length >= Vector<float>.Count)
        {
            // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
            Vector<float> magic = new(12582912f), errors = default, allProducts = default, allSquares = default;
            for (; i <= weights.Length - Vector<float>.Count; i += Vector<float>.Count)
            {
                Vector<float> weight = new(weights[i..]);
                Vector<float> raised = Vector.Max((weight * inverse) + magic, magic + new Vector<float>(LeastInt4));
                Vector<float> steps = Vector.Min(raised, magic + new Vector<float>(MostInt4)) - magic;
                Vector<float> difference = weight - (steps * scale);
                errors += difference * difference;
                allProducts += weight * steps;
                allSquares += steps * steps;
            }

            (error, products, squares) = (Vector.Sum(errors), Vector.Sum(allProducts), Vector.Sum(allSquares));
        }

        for (; i < weights.Length; i++)
        {
            float steps = Math.Clamp(MathF.Round(weights[i] * inverse), LeastInt4, MostInt4), difference = weights[i] - (steps * scale);
            error += difference * difference;
            products += weights[i] * steps;
            squares += steps * steps;
        }

        return (error, squares == 0 ? 0 : products / squares);
    }

    private static ushort Nearest(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private ReadOnlySpan<float> Group(ReadOnlySpan<float> row, int group) =>
        row.Slice(group * GroupSize, Math.Min(GroupSize, Columns - (group * GroupSize)));

    private void CheckRow(int columns, int scales, int? bytes = null)
    {
        if (columns != Columns || scales != Groups || (bytes ?? RowBytes) != RowBytes)
        {
            throw new ArgumentException(
                $"A row has {Columns} weights, {Groups} scales and {RowBytes} bytes, not {columns}, {scales} and {bytes ?? RowBytes}.");
        }
    }
}
