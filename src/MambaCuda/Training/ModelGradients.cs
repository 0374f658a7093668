using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The gradients of a model's parameters, or of its adapter's where those alone are trained: float32, in one buffer, in the order of
/// <see cref="ParameterLayout"/>. Backward passes add to them until <see cref="Clear"/>.
/// </summary>
public sealed class ModelGradients : IDisposable
{
    private readonly MambaConfig _config;
    private readonly Backend _backend;
    private readonly DeviceBuffer _buffer;
    private readonly ParameterLayout _layout;
    private readonly Dictionary<string, ParameterSlot> _slots;

    internal ModelGradients(MambaConfig config, ParameterLayout layout, Backend backend)
    {
        _config = config;
        _backend = backend;
        _layout = layout;
        _slots = layout.Slots.ToDictionary(slot => slot.Name);
        _buffer = backend.Allocate(layout.ElementCount * sizeof(float));
        Layers =
        [
            .. Enumerable.Range(0, config.LayerCount)
                .Select(layer => LayerWeights.Of(config, layer, name => Find(name), Find, Find(TensorNames.LogA(layer))) with
                {
                    Adapters = LayerAdapters.Of(layer, Find),
                }),
        ];
    }

    /// <summary>All gradients in the order of the layout, Float32.</summary>
    public MatrixView Values => ParameterLayout.Part(_buffer, DataType.Float32, 0, _layout.ElementCount);

    /// <summary>Some gradients in the order of the layout, see <see cref="ParameterLayout.Part"/>.</summary>
    public MatrixView Part(long first, long count) => ParameterLayout.Part(_buffer, DataType.Float32, first, count);

    /// <summary>The gradients of each layer, none for weights that are frozen; where weights have A, these have that of A_log.</summary>
    internal IReadOnlyList<LayerWeights> Layers { get; }

    internal MatrixView Embedding => Find(TensorNames.Embedding);

    internal MatrixView Head => Find(_config.TieEmbeddings ? TensorNames.Embedding : TensorNames.Head);

    internal MatrixView FinalNorm => Find(TensorNames.FinalNorm);

    /// <summary>The gradient of a parameter, shaped as the matrix that kernels read.</summary>
    /// <exception cref="KeyNotFoundException">None of that name is trained.</exception>
    public MatrixView Of(string name) => ParameterLayout.Matrix(_buffer, DataType.Float32, _slots[name]);

    /// <summary>The gradient of a parameter as checkpoints store that, Float32, brought to the host.</summary>
    /// <param name="tensor">Which.</param>
    /// <param name="memory">Where to put it: as many bytes as it has.</param>
    public StoredTensor Download(ExpectedTensor tensor, NativeHostMemory memory)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentNullException.ThrowIfNull(memory);
        return ParameterLayout.Download(_backend, _buffer, DataType.Float32, _slots[tensor.Name], tensor, memory);
    }

    /// <summary>Sets all of them to zero.</summary>
    public void Clear() => _backend.Clear(Values);

    /// <inheritdoc/>
    public void Dispose() => _buffer.Dispose();

    private MatrixView Find(string name) => _slots.ContainsKey(name) ? Of(name) : default;
}
