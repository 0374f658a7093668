using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>Where one parameter of a model lies among all of them, and how.</summary>
/// <param name="Name">Its name in checkpoints, see <see cref="TensorNames"/>.</param>
/// <param name="Offset">Its first element.</param>
/// <param name="Rows">The rows of its matrix: outputs of a projection; taps, states or ranks of what belongs to channels.</param>
/// <param name="Columns">The columns of its matrix; the channel is innermost.</param>
/// <param name="Turned">Whether checkpoints store it the other way round, (channels, ..., rows).</param>
public sealed record ParameterSlot(string Name, long Offset, long Rows, int Columns, bool Turned)
{
    /// <summary>The number of elements.</summary>
    public long ElementCount => Rows * Columns;
}

/// <summary>
/// The order of a model's parameters in one array: first those that weight decay applies to, then A_log, D, biases and norms, which it
/// does not. Gradients, the optimizer's moments and rounded copies have the same order, so that one operation steps all of them at once.
/// </summary>
public sealed class ParameterLayout
{
    // 256 bytes of float32: every parameter starts where vectors and tensor copies want it, in 16-bit copies too.
    private const int Alignment = 64;

    /// <summary>Lays out the parameters of a configuration.</summary>
    public ParameterLayout(MambaConfig config) : this((config ?? throw new ArgumentNullException(nameof(config))).Tensors())
    {
    }

    /// <summary>Lays out tensors, of a model or of an adapter.</summary>
    internal ParameterLayout(IEnumerable<ExpectedTensor> tensors)
    {
        ExpectedTensor[] all = [.. tensors];
        List<ParameterSlot> slots = [];
        long end = 0;
        foreach (bool decays in new[] { true, false })
        {
            foreach (ExpectedTensor tensor in all.Where(tensor => Decays(tensor.Name) == decays))
            {
                ParameterSlot slot = Slot(tensor, end);
                slots.Add(slot);
                end += (slot.ElementCount + Alignment - 1) / Alignment * Alignment;
            }

            DecayedCount = decays ? end : DecayedCount;
        }

        Slots = slots;
        ElementCount = end;
    }

    /// <summary>All parameters in their order.</summary>
    public IReadOnlyList<ParameterSlot> Slots { get; }

    /// <summary>The elements of the array, gaps included.</summary>
    public long ElementCount { get; }

    /// <summary>How many elements, from the first on, weight decay applies to.</summary>
    public long DecayedCount { get; }

    /// <summary>Whether weight decay applies to a parameter: to matrices and convolutions, not to A_log, D, biases and norms.</summary>
    public static bool Decays(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name.EndsWith(".weight", StringComparison.Ordinal) && !name.EndsWith("norm.weight", StringComparison.Ordinal)
            && name != TensorNames.FinalNorm;
    }

    /// <summary>Whether a parameter is a matrix that activations are multiplied with, the embedding among them.</summary>
    internal static bool IsProjection(ExpectedTensor tensor) =>
        tensor.Shape.Length == 2 && tensor.Name.EndsWith(".weight", StringComparison.Ordinal);

    /// <summary>A part of an array of this order, as rows without gaps.</summary>
    /// <param name="buffer">The array.</param>
    /// <param name="type">The type of its elements.</param>
    /// <param name="first">The first element, where a parameter starts.</param>
    /// <param name="count">The number of elements, up to where a parameter starts or the array ends.</param>
    public static MatrixView Part(DeviceBuffer buffer, DataType type, long first, long count)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        return buffer.Matrix(type, count / Alignment, Alignment, first * type.Size());
    }

    /// <summary>A parameter in an array of this order.</summary>
    public static MatrixView Matrix(DeviceBuffer buffer, DataType type, ParameterSlot slot)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        ArgumentNullException.ThrowIfNull(slot);
        return buffer.Matrix(type, slot.Rows, slot.Columns, slot.Offset * type.Size());
    }

    /// <summary>Brings a part of an array of this order to the host, as checkpoints store the parameter there.</summary>
    internal static unsafe StoredTensor Download(
        Backend backend, DeviceBuffer buffer, DataType type, ParameterSlot slot, ExpectedTensor tensor, NativeHostMemory memory)
    {
        float[] values = new float[slot.ElementCount];
        if (type == DataType.Float32)
        {
            backend.Download<float>(Matrix(buffer, type, slot), values);
        }
        else
        {
            byte[] stored = new byte[slot.ElementCount * type.Size()];
            backend.Download<byte>(Matrix(buffer, type, slot), stored);
            DataTypes.Widen(stored, type, values);
        }

        values = slot.Turned ? Turn(values, (int)slot.Rows, slot.Columns) : values;
        values.CopyTo(new Span<float>(memory.Pointer, values.Length));
        return new StoredTensor(tensor.Name, DataType.Float32, tensor.Shape, memory);
    }

    /// <summary>A matrix (rows, columns) as (columns, rows).</summary>
    internal static float[] Turn(float[] values, int rows, int columns)
    {
        float[] turned = new float[values.Length];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                turned[((long)column * rows) + row] = values[((long)row * columns) + column];
            }
        }

        return turned;
    }

    private static ParameterSlot Slot(ExpectedTensor tensor, long offset)
    {
        bool turned = tensor.Name.EndsWith("A_log", StringComparison.Ordinal)
            || tensor.Name.EndsWith("conv1d.weight", StringComparison.Ordinal)
            || tensor.Name.EndsWith("lora_B.weight", StringComparison.Ordinal);
        int innermost = checked((int)(turned || tensor.Shape.Length == 1 ? tensor.Shape[0] : tensor.Shape[^1]));
        return new ParameterSlot(tensor.Name, offset, tensor.ElementCount / innermost, innermost, turned);
    }
}
