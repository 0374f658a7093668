using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>All parameters of a model that is trained as a whole.</summary>
public sealed class ModelParameters : TrainedParameters, IModelWeights
{
    private readonly MambaConfig _config;
    private readonly DeviceBuffer _a;

    /// <summary>Takes the values of tensors, which are not needed afterwards.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="tensors">All tensors that <see cref="MambaConfig.Tensors"/> names.</param>
    /// <param name="backend">What holds them.</param>
    /// <param name="masterWeights">Whether projections are held in float32 beside the 16 bits that they are computed with.</param>
    internal ModelParameters(
        MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend, bool masterWeights)
        : this(config, tensors, backend, new ParameterLayout(config), masterWeights || backend.ActivationType == DataType.Float32)
    {
    }

    private ModelParameters(
        MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend, ParameterLayout layout, bool all)
        : base(
            layout, all ? layout : new ParameterLayout(config.Tensors().Where(tensor => !ParameterLayout.IsProjection(tensor))),
            all ? layout : new ParameterLayout(config.Tensors().Where(ParameterLayout.IsProjection)), backend)
    {
        _config = config;
        try
        {
            _a = backend.Allocate(config.LayerCount * (long)config.StateSize * config.IntermediateSize * sizeof(float));
            Layers = [.. Enumerable.Range(0, config.LayerCount).Select(Layer)];
            Load(tensors);
        }
        catch
        {
            _a?.Dispose();
            base.Dispose(true);
            throw;
        }
    }

    /// <inheritdoc/>
    public override long ByteLength => base.ByteLength + _a.ByteLength;

    internal IReadOnlyList<LayerWeights> Layers { get; }

    IReadOnlyList<LayerWeights> IModelWeights.Layers => Layers;

    MatrixView IModelWeights.Embedding => Projection(TensorNames.Embedding);

    WeightView IModelWeights.Head => Projection(_config.TieEmbeddings ? TensorNames.Embedding : TensorNames.Head);

    MatrixView IModelWeights.FinalNorm => Of(TensorNames.FinalNorm);

    /// <summary>Overwrites all parameters with those of a checkpoint or of <see cref="RandomWeights"/>.</summary>
    public override void Load(IReadOnlyDictionary<string, StoredTensor> tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ExpectedTensor.CheckAll(_config.Tensors(), tensors);
        foreach (ParameterSlot slot in Layout.Slots)
        {
            Load(slot, tensors[slot.Name]);
        }

        Refresh();
    }

    /// <inheritdoc/>
    public override void Refresh()
    {
        for (int layer = 0; layer < _config.LayerCount; layer++)
        {
            Backend.StateMatrixForward(
                new StateMatrixForwardArgs { LogA = Of(TensorNames.LogA(layer)), A = Layers[layer].A });
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        _a.Dispose();
    }

    private LayerWeights Layer(int layer)
    {
        long size = (long)_config.StateSize * _config.IntermediateSize * sizeof(float);
        MatrixView a = _a.Matrix(DataType.Float32, _config.StateSize, _config.IntermediateSize, layer * size);
        return LayerWeights.Of(_config, layer, name => Projection(name), Of, a);
    }
}
