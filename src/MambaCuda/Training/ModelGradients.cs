using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The gradients of a model's parameters, or of its adapter's where those alone are trained: float32, in one buffer, in the order of
/// <see cref="ParameterLayout"/>. Backward passes add to them until <see cref="Clear"/>. That leaves those of the projections, which are almost
/// all, as they are: the first pass writes them over, unless somebody asks for them before.
/// </summary>
public sealed class ModelGradients : IDisposable
{
    private readonly MambaConfig _config;
    private readonly Backend _backend;
    private readonly DeviceBuffer _buffer;
    private readonly ParameterLayout _layout;
    private readonly Dictionary<string, ParameterSlot> _slots;

    // The gradients of projections in the order of the layout, and where those begin that count as zero, whatever their memory holds.
    private readonly MatrixView[] _projections;
    private readonly HashSet<long> _unreached = [];

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
        _projections =
        [
            .. Layers.SelectMany(layer => new[]
            {
                layer.InProjection.Matrix, layer.ScanProjection.Matrix, layer.TimeStepProjection.Matrix, layer.OutProjection.Matrix,
            }).Append(Head).Where(gradient => !gradient.IsNone).OrderBy(gradient => gradient.ByteOffset),
        ];
        MarkClear();
    }

    /// <summary>All gradients in the order of the layout, Float32.</summary>
    public MatrixView Values => Part(0, _layout.ElementCount);

    /// <summary>Whether no pass has reached a projection since <see cref="Clear"/>.</summary>
    internal bool AreClear => _unreached.Count == _projections.Length;

    /// <summary>The gradients of each layer, none for weights that are frozen; where weights have A, these have that of A_log.</summary>
    internal IReadOnlyList<LayerWeights> Layers { get; }

    internal MatrixView Embedding => Find(TensorNames.Embedding);

    internal MatrixView Head => Find(_config.TieEmbeddings ? TensorNames.Embedding : TensorNames.Head);

    internal MatrixView FinalNorm => Find(TensorNames.FinalNorm);

    /// <summary>Some gradients in the order of the layout, see <see cref="ParameterLayout.Part"/>.</summary>
    public MatrixView Part(long first, long count)
    {
        Settle();
        return ParameterLayout.Part(_buffer, DataType.Float32, first, count);
    }

    /// <summary>The gradient of a parameter, shaped as the matrix that kernels read.</summary>
    /// <exception cref="KeyNotFoundException">None of that name is trained.</exception>
    public MatrixView Of(string name)
    {
        Settle();
        return ParameterLayout.Matrix(_buffer, DataType.Float32, _slots[name]);
    }

    /// <summary>The gradient of a parameter as checkpoints store that, Float32, brought to the host.</summary>
    /// <param name="tensor">Which.</param>
    /// <param name="memory">Where to put it: as many bytes as it has.</param>
    public StoredTensor Download(ExpectedTensor tensor, NativeHostMemory memory)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentNullException.ThrowIfNull(memory);
        Settle();
        return ParameterLayout.Download(_backend, _buffer, DataType.Float32, _slots[tensor.Name], tensor, memory);
    }

    /// <summary>Sets all of them to zero.</summary>
    public void Clear()
    {
        MarkClear();
        long end = 0;
        foreach (MatrixView projection in _projections)
        {
            ClearBytes(end, projection.ByteOffset);
            end = projection.ByteOffset + projection.ByteLength;
        }

        ClearBytes(end, _buffer.ByteLength);
    }

    /// <summary>
    /// Whether an operation is the first since <see cref="Clear"/> to reach the gradient of a projection, and is to write it, not to add to it.
    /// Another that asks is not.
    /// </summary>
    internal bool IsFirst(MatrixView gradient) => !gradient.IsNone && _unreached.Remove(gradient.ByteOffset);

    /// <summary>What is known after <see cref="Clear"/>, where its operations were captured and have run again.</summary>
    internal void MarkClear() => _unreached.UnionWith(_projections.Select(projection => projection.ByteOffset));

    /// <summary>The same after a pass, which reaches all projections.</summary>
    internal void MarkReached() => _unreached.Clear();

    /// <summary>Sets to zero in memory what counts as that.</summary>
    internal void Settle()
    {
        foreach (MatrixView projection in _projections.Where(IsFirst))
        {
            _backend.Clear(projection);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _buffer.Dispose();

    private MatrixView Find(string name) =>
        _slots.TryGetValue(name, out ParameterSlot? slot) ? ParameterLayout.Matrix(_buffer, DataType.Float32, slot) : default;

    private void ClearBytes(long from, long to)
    {
        if (to > from)
        {
            _backend.Clear(_buffer.Matrix(DataType.Float32, (to - from) / sizeof(float), 1, from));
        }
    }
}
