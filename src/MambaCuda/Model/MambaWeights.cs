using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>All weights of a model on a backend: the projections imported as they are stored, the small parameters converted to Float32.</summary>
internal sealed class MambaWeights : IDisposable
{
    private readonly Backend _backend;
    private readonly List<DeviceBuffer> _buffers = [];

    private MambaWeights(Backend backend) => _backend = backend;

    /// <summary>(vocabulary size, hidden size).</summary>
    public MatrixView Embedding { get; private set; }

    /// <summary>(vocabulary size, hidden size); the embedding where they are tied.</summary>
    public MatrixView Head { get; private set; }

    /// <summary>(1, hidden size).</summary>
    public MatrixView FinalNorm { get; private set; }

    public IReadOnlyList<LayerWeights> Layers { get; private set; } = [];

    /// <summary>The bytes that the device holds for them.</summary>
    public long ByteLength => _buffers.Sum(buffer => buffer.ByteLength);

    public static MambaWeights Load(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend)
    {
        MambaWeights weights = new(backend);
        try
        {
            weights.Embedding = weights.Matrix(tensors[TensorNames.Embedding]);
            weights.Head = config.TieEmbeddings ? weights.Embedding : weights.Matrix(tensors[TensorNames.Head]);
            weights.FinalNorm = weights.Vector(tensors[TensorNames.FinalNorm]);
            weights.Layers = [.. Enumerable.Range(0, config.LayerCount).Select(layer => weights.Layer(config, tensors, layer))];
            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers)
        {
            buffer.Dispose();
        }

        _buffers.Clear();
    }

    private LayerWeights Layer(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, int layer) => new()
    {
        Norm = Vector(tensors[TensorNames.Norm(layer)]),
        InProjection = Matrix(tensors[TensorNames.InProjection(layer)]),
        InProjectionBias = config.UseBias ? Vector(tensors[TensorNames.InProjectionBias(layer)]) : default,
        Convolution = ChannelInnermost(tensors[TensorNames.Convolution(layer)], config.IntermediateSize, value => value),
        ConvolutionBias = config.UseConvBias ? Vector(tensors[TensorNames.ConvolutionBias(layer)]) : default,
        ScanProjection = Matrix(tensors[TensorNames.ScanProjection(layer)]),
        TimeStepProjection = Matrix(tensors[TensorNames.TimeStepProjection(layer)]),
        TimeStepBias = Vector(tensors[TensorNames.TimeStepBias(layer)]),
        A = ChannelInnermost(tensors[TensorNames.LogA(layer)], config.IntermediateSize, logA => -MathF.Exp(logA)),
        D = Vector(tensors[TensorNames.Skip(layer)]),
        OutProjection = Matrix(tensors[TensorNames.OutProjection(layer)]),
        OutProjectionBias = config.UseBias ? Vector(tensors[TensorNames.OutProjectionBias(layer)]) : default,
    };

    /// <summary>A projection, as stored.</summary>
    private MatrixView Matrix(StoredTensor tensor)
    {
        DeviceBuffer buffer = _backend.Import(tensor.Memory, tensor.ByteOffset, tensor.ByteLength);
        _buffers.Add(buffer);
        return buffer.Matrix(tensor.Type, tensor.Shape[0], checked((int)tensor.Shape[1]));
    }

    private MatrixView Vector(StoredTensor tensor) => Upload(Floats(tensor), 1);

    /// <summary>A parameter of shape (channels, ..., k) as (k, channels).</summary>
    private MatrixView ChannelInnermost(StoredTensor tensor, int channels, Func<float, float> map)
    {
        float[] stored = Floats(tensor);
        int count = stored.Length / channels;
        float[] turned = new float[stored.Length];
        for (int channel = 0; channel < channels; channel++)
        {
            for (int k = 0; k < count; k++)
            {
                turned[(k * channels) + channel] = map(stored[(channel * count) + k]);
            }
        }

        return Upload(turned, count);
    }

    private static float[] Floats(StoredTensor tensor)
    {
        float[] values = new float[tensor.ElementCount];
        DataTypes.Widen(tensor.Memory.Span(tensor.ByteOffset, checked((int)tensor.ByteLength)), tensor.Type, values);
        return values;
    }

    private MatrixView Upload(float[] values, int rows)
    {
        DeviceBuffer buffer = _backend.Allocate((long)values.Length * sizeof(float));
        _buffers.Add(buffer);
        MatrixView view = buffer.Matrix(DataType.Float32, rows, values.Length / rows);
        _backend.Upload<float>(values, view);
        return view;
    }
}
