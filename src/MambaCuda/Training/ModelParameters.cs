using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The parameters of a model that is trained: float32, in one buffer (see <see cref="ParameterLayout"/>); beside it, where activations have
/// 16 bits, a rounded copy of the same order that the projections are computed with.
/// </summary>
public sealed class ModelParameters : IDisposable
{
    private readonly MambaConfig _config;
    private readonly Backend _backend;
    private readonly DeviceBuffer _master;
    private readonly DeviceBuffer? _rounded;
    private readonly DeviceBuffer _a;
    private readonly Dictionary<string, ParameterSlot> _slots;

    /// <summary>Takes the values of tensors, which are not needed afterwards.</summary>
    internal ModelParameters(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend)
    {
        _config = config;
        _backend = backend;
        Layout = new ParameterLayout(config);
        _slots = Layout.Slots.ToDictionary(slot => slot.Name);
        List<DeviceBuffer> buffers = [];
        try
        {
            DeviceBuffer Allocate(long bytes)
            {
                buffers.Add(backend.Allocate(bytes));
                return buffers[^1];
            }

            _master = Allocate(Layout.ElementCount * sizeof(float));
            _rounded = WeightType == DataType.Float32 ? null : Allocate(Layout.ElementCount * WeightType.Size());
            _a = Allocate(config.LayerCount * (long)config.StateSize * config.IntermediateSize * sizeof(float));
            Layers = [.. Enumerable.Range(0, config.LayerCount).Select(Layer)];
            Load(tensors);
        }
        catch
        {
            buffers.ForEach(buffer => buffer.Dispose());
            throw;
        }
    }

    /// <summary>Which parameter lies where.</summary>
    public ParameterLayout Layout { get; }

    /// <summary>All parameters in the order of <see cref="Layout"/>, Float32.</summary>
    public MatrixView Values => ParameterLayout.Part(_master, DataType.Float32, 0, Layout.ElementCount);

    /// <summary>The type that projections are computed with.</summary>
    public DataType WeightType => _backend.ActivationType;

    internal IReadOnlyList<LayerWeights> Layers { get; }

    internal MatrixView Embedding => Projection(TensorNames.Embedding);

    internal MatrixView Head => Projection(_config.TieEmbeddings ? TensorNames.Embedding : TensorNames.Head);

    internal MatrixView FinalNorm => Of(TensorNames.FinalNorm);

    /// <summary>A parameter as the matrix that kernels read, Float32.</summary>
    /// <exception cref="KeyNotFoundException">The model has none of that name.</exception>
    public MatrixView Of(string name) => ParameterLayout.Matrix(_master, DataType.Float32, _slots[name]);

    /// <summary>Some parameters in the order of <see cref="Layout"/>, see <see cref="ParameterLayout.Part"/>.</summary>
    public MatrixView Part(long first, long count) => ParameterLayout.Part(_master, DataType.Float32, first, count);

    /// <summary>The rounded copy of some parameters, or none where there is no such copy.</summary>
    public MatrixView RoundedPart(long first, long count) =>
        _rounded is null ? default : ParameterLayout.Part(_rounded, WeightType, first, count);

    /// <summary>Overwrites all parameters with those of a checkpoint or of <see cref="RandomWeights"/>.</summary>
    public void Load(IReadOnlyDictionary<string, StoredTensor> tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ExpectedTensor.CheckAll(_config, tensors);
        foreach (ParameterSlot slot in Layout.Slots)
        {
            Load(slot, tensors[slot.Name]);
        }

        Refresh();
    }

    /// <summary>A parameter as checkpoints store it, Float32, brought to the host.</summary>
    /// <param name="tensor">Which.</param>
    /// <param name="memory">Where to put it: as many bytes as it has.</param>
    public StoredTensor Download(ExpectedTensor tensor, NativeHostMemory memory)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentNullException.ThrowIfNull(memory);
        return ParameterLayout.Download(_backend, _master, _slots[tensor.Name], tensor, memory);
    }

    /// <summary>Makes what is derived from the parameters again: to be called after they were stepped.</summary>
    public void Refresh()
    {
        for (int layer = 0; layer < _config.LayerCount; layer++)
        {
            _backend.StateMatrixForward(
                new StateMatrixForwardArgs { LogA = Of(TensorNames.LogA(layer)), A = Layers[layer].A });
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _master.Dispose();
        _rounded?.Dispose();
        _a.Dispose();
    }

    private LayerWeights Layer(int layer)
    {
        long size = (long)_config.StateSize * _config.IntermediateSize * sizeof(float);
        MatrixView a = _a.Matrix(DataType.Float32, _config.StateSize, _config.IntermediateSize, layer * size);
        return LayerWeights.Of(_config, layer, Projection, Of, a);
    }

    private MatrixView Projection(string name) =>
        _rounded is null ? Of(name) : ParameterLayout.Matrix(_rounded, WeightType, _slots[name]);

    private void Load(ParameterSlot slot, StoredTensor tensor)
    {
        float[] values = new float[slot.ElementCount];
        DataTypes.Widen(
            tensor.Memory.Span(tensor.ByteOffset, checked((int)tensor.ByteLength)), tensor.Type, values);
        values = slot.Turned ? ParameterLayout.Turn(values, slot.Columns, (int)slot.Rows) : values;
        _backend.Upload<float>(values, Of(slot.Name));
        if (_rounded is not null)
        {
            byte[] rounded = new byte[values.Length * WeightType.Size()];
            WeightConversion.Convert(MemoryMarshal.AsBytes<float>(values), DataType.Float32, rounded, WeightType, new float[values.Length]);
            _backend.Upload<byte>(rounded, ParameterLayout.Matrix(_rounded, WeightType, slot));
        }
    }
}
