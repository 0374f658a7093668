using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The parameters that an optimizer steps: float32, in one buffer (see <see cref="ParameterLayout"/>); beside it, where activations have
/// 16 bits, a rounded copy of the same order that projections are computed with. All of a model (<see cref="ModelParameters"/>), or an
/// adapter's alone (<see cref="AdapterParameters"/>).
/// </summary>
public abstract class TrainedParameters : IDisposable
{
    private readonly DeviceBuffer _master;
    private readonly DeviceBuffer? _rounded;
    private readonly Dictionary<string, ParameterSlot> _slots;

    /// <summary>All zero at first.</summary>
    private protected TrainedParameters(ParameterLayout layout, Backend backend)
    {
        Layout = layout;
        Backend = backend;
        _slots = layout.Slots.ToDictionary(slot => slot.Name);
        _master = backend.Allocate(layout.ElementCount * sizeof(float));
        try
        {
            _rounded = WeightType == DataType.Float32 ? null : backend.Allocate(layout.ElementCount * WeightType.Size());
        }
        catch
        {
            _master.Dispose();
            throw;
        }
    }

    /// <summary>Which parameter lies where.</summary>
    public ParameterLayout Layout { get; }

    /// <summary>All parameters in the order of <see cref="Layout"/>, Float32.</summary>
    public MatrixView Values => ParameterLayout.Part(_master, DataType.Float32, 0, Layout.ElementCount);

    /// <summary>The type that projections are computed with.</summary>
    public DataType WeightType => Backend.ActivationType;

    private protected Backend Backend { get; }

    /// <summary>A parameter as the matrix that kernels read, Float32.</summary>
    /// <exception cref="KeyNotFoundException">There is none of that name.</exception>
    public MatrixView Of(string name) => ParameterLayout.Matrix(_master, DataType.Float32, _slots[name]);

    /// <summary>Some parameters in the order of <see cref="Layout"/>, see <see cref="ParameterLayout.Part"/>.</summary>
    public MatrixView Part(long first, long count) => ParameterLayout.Part(_master, DataType.Float32, first, count);

    /// <summary>The rounded copy of some parameters, or none where there is no such copy.</summary>
    public MatrixView RoundedPart(long first, long count) =>
        _rounded is null ? default : ParameterLayout.Part(_rounded, WeightType, first, count);

    /// <summary>Overwrites all parameters with tensors of their names.</summary>
    /// <exception cref="ArgumentException">A tensor is missing or mis-shaped; the message names it.</exception>
    public abstract void Load(IReadOnlyDictionary<string, StoredTensor> tensors);

    /// <summary>A parameter as checkpoints store it, Float32, brought to the host.</summary>
    /// <param name="tensor">Which.</param>
    /// <param name="memory">Where to put it: as many bytes as it has.</param>
    public StoredTensor Download(ExpectedTensor tensor, NativeHostMemory memory)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentNullException.ThrowIfNull(memory);
        return ParameterLayout.Download(Backend, _master, _slots[tensor.Name], tensor, memory);
    }

    /// <summary>Makes what is derived from the parameters again: to be called after they were stepped.</summary>
    public abstract void Refresh();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the buffers back.</summary>
    protected virtual void Dispose(bool disposing)
    {
        _master.Dispose();
        _rounded?.Dispose();
    }

    /// <summary>A parameter as activations are multiplied with it; none where there is none of that name.</summary>
    private protected MatrixView Projection(string name) => !_slots.TryGetValue(name, out ParameterSlot? slot) ? default
        : _rounded is null ? Of(name)
        : ParameterLayout.Matrix(_rounded, WeightType, slot);

    private protected void Load(ParameterSlot slot, StoredTensor tensor)
    {
        float[] values = new float[slot.ElementCount];
        DataTypes.Widen(
            tensor.Memory.Span(tensor.ByteOffset, checked((int)tensor.ByteLength)), tensor.Type, values);
        Upload(slot, slot.Turned ? ParameterLayout.Turn(values, slot.Columns, (int)slot.Rows) : values);
    }

    /// <summary>Overwrites a parameter, as its matrix lies, and its rounded copy.</summary>
    private protected void Upload(ParameterSlot slot, float[] values)
    {
        Backend.Upload<float>(values, Of(slot.Name));
        if (_rounded is not null)
        {
            byte[] rounded = new byte[values.Length * WeightType.Size()];
            WeightConversion.Convert(MemoryMarshal.AsBytes<float>(values), DataType.Float32, rounded, WeightType, new float[values.Length]);
            Backend.Upload<byte>(rounded, ParameterLayout.Matrix(_rounded, WeightType, slot));
        }
    }
}
