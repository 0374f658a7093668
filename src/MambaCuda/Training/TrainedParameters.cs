using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The parameters that an optimizer steps: float32, in one buffer (see <see cref="ParameterLayout"/>), the masters; beside it, where
/// activations have 16 bits, a rounded copy of the same order that projections are computed with. All of a model
/// (<see cref="ModelParameters"/>), or an adapter's alone (<see cref="AdapterParameters"/>). Where only gradients are wanted, projections
/// can do without masters (<see cref="HasMasters"/>): they are there in 16 bits alone, and everything else in float32 alone.
/// </summary>
public abstract class TrainedParameters : IDisposable
{
    private readonly DeviceBuffer _master;
    private readonly DeviceBuffer? _rounded;
    private readonly Dictionary<string, ParameterSlot> _masterSlots;
    private readonly Dictionary<string, ParameterSlot> _roundedSlots;

    /// <summary>All zero at first.</summary>
    private protected TrainedParameters(ParameterLayout layout, Backend backend) : this(layout, layout, layout, backend)
    {
    }

    /// <summary>All zero at first.</summary>
    /// <param name="layout">Of all parameters.</param>
    /// <param name="masters">Of those that are there in Float32; all, or a layout of its own.</param>
    /// <param name="rounded">Of those that are there in 16 bits where activations are; all, or a layout of its own.</param>
    /// <param name="backend">What holds them.</param>
    private protected TrainedParameters(ParameterLayout layout, ParameterLayout masters, ParameterLayout rounded, Backend backend)
    {
        Layout = layout;
        HasMasters = masters == layout;
        Backend = backend;
        _masterSlots = masters.Slots.ToDictionary(slot => slot.Name);
        _roundedSlots = rounded.Slots.ToDictionary(slot => slot.Name);
        _master = backend.Allocate(masters.ElementCount * sizeof(float));
        try
        {
            _rounded = WeightType == DataType.Float32 ? null : backend.Allocate(rounded.ElementCount * WeightType.Size());
        }
        catch
        {
            _master.Dispose();
            throw;
        }
    }

    /// <summary>Which parameter lies where.</summary>
    public ParameterLayout Layout { get; }

    /// <summary>
    /// Whether all parameters are there in float32, which is what an optimizer steps; else projections are in <see cref="WeightType"/>
    /// alone.
    /// </summary>
    public bool HasMasters { get; }

    /// <summary>The bytes that they take on the device.</summary>
    public virtual long ByteLength => _master.ByteLength + (_rounded?.ByteLength ?? 0);

    /// <summary>All parameters in the order of <see cref="Layout"/>, Float32.</summary>
    /// <exception cref="InvalidOperationException">There are no masters.</exception>
    public MatrixView Values => Part(0, Layout.ElementCount);

    /// <summary>The type that projections are computed with.</summary>
    public DataType WeightType => Backend.ActivationType;

    private protected Backend Backend { get; }

    /// <summary>A parameter as the matrix that kernels read, Float32.</summary>
    /// <exception cref="KeyNotFoundException">There is none of that name.</exception>
    /// <exception cref="InvalidOperationException">It is a projection without a master.</exception>
    public MatrixView Of(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return !HasMasters && _roundedSlots.ContainsKey(name)
            ? throw WithoutMasters()
            : ParameterLayout.Matrix(_master, DataType.Float32, _masterSlots[name]);
    }

    /// <summary>
    /// A parameter as the matrix that kernels read, in the 16 bits of <see cref="WeightType"/>; none where activations are Float32.
    /// </summary>
    /// <exception cref="KeyNotFoundException">There is none of that name, or it is no projection and there are no masters.</exception>
    public MatrixView RoundedOf(string name) =>
        _rounded is null ? default : ParameterLayout.Matrix(_rounded, WeightType, _roundedSlots[name]);

    /// <summary>Some parameters in the order of <see cref="Layout"/>, see <see cref="ParameterLayout.Part"/>.</summary>
    /// <exception cref="InvalidOperationException">There are no masters.</exception>
    public MatrixView Part(long first, long count) =>
        HasMasters ? ParameterLayout.Part(_master, DataType.Float32, first, count) : throw WithoutMasters();

    /// <summary>The rounded copy of some parameters, or none where there is no such copy.</summary>
    /// <exception cref="InvalidOperationException">There are no masters, whose order it would have.</exception>
    public MatrixView RoundedPart(long first, long count) => !HasMasters ? throw WithoutMasters()
        : _rounded is null ? default : ParameterLayout.Part(_rounded, WeightType, first, count);

    /// <summary>Overwrites all parameters with tensors of their names.</summary>
    /// <exception cref="ArgumentException">A tensor is missing or mis-shaped; the message names it.</exception>
    public abstract void Load(IReadOnlyDictionary<string, StoredTensor> tensors);

    /// <summary>A parameter as checkpoints store it, Float32, brought to the host; widened where it has no master.</summary>
    /// <param name="tensor">Which.</param>
    /// <param name="memory">Where to put it: as many bytes as it has.</param>
    public StoredTensor Download(ExpectedTensor tensor, NativeHostMemory memory)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentNullException.ThrowIfNull(memory);
        return _masterSlots.TryGetValue(tensor.Name, out ParameterSlot? slot)
            ? ParameterLayout.Download(Backend, _master, DataType.Float32, slot, tensor, memory)
            : ParameterLayout.Download(Backend, _rounded!, WeightType, _roundedSlots[tensor.Name], tensor, memory);
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
    private protected MatrixView Projection(string name) => !_roundedSlots.ContainsKey(name) ? default
        : _rounded is null ? Of(name)
        : RoundedOf(name);

    private protected void Load(ParameterSlot slot, StoredTensor tensor)
    {
        float[] values = new float[slot.ElementCount];
        DataTypes.Widen(
            tensor.Memory.Span(tensor.ByteOffset, checked((int)tensor.ByteLength)), tensor.Type, values);
        Upload(slot, slot.Turned ? ParameterLayout.Turn(values, slot.Columns, (int)slot.Rows) : values);
    }

    /// <summary>Overwrites a parameter, as its matrix lies, and its rounded copy; whichever there are.</summary>
    private protected void Upload(ParameterSlot slot, float[] values)
    {
        if (_masterSlots.ContainsKey(slot.Name))
        {
            Backend.Upload<float>(values, Of(slot.Name));
        }

        if (_rounded is not null && _roundedSlots.ContainsKey(slot.Name))
        {
            byte[] rounded = new byte[values.Length * WeightType.Size()];
            WeightConversion.Convert(MemoryMarshal.AsBytes<float>(values), DataType.Float32, rounded, WeightType, new float[values.Length]);
            Backend.Upload<byte>(rounded, RoundedOf(slot.Name));
        }
    }

    private InvalidOperationException WithoutMasters() => new(
        $"The model holds its projections in {WeightType} alone, for gradients: there are no float32 weights that an optimizer could step. "
        + "Make it with master weights.");
}
