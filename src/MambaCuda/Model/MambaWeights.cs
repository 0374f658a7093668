using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// All weights of a model on a backend: the projections as they are stored, or in the type that the backend multiplies with, and the small
/// parameters in Float32. A checkpoint is never copied in host memory: what must be converted is, a piece at a time.
/// </summary>
internal sealed class MambaWeights : IModelWeights
{
    private const int PieceBytes = 1 << 24;

    private readonly Backend _backend;
    private readonly List<DeviceBuffer> _buffers = [];

    private MambaWeights(Backend backend) => _backend = backend;

    /// <summary>(vocabulary size, hidden size).</summary>
    public MatrixView Embedding { get; private set; }

    /// <summary>(vocabulary size, hidden size); the embedding where they are tied and nothing is quantized.</summary>
    public WeightView Head { get; private set; }

    /// <summary>(1, hidden size).</summary>
    public MatrixView FinalNorm { get; private set; }

    public IReadOnlyList<LayerWeights> Layers { get; private set; } = [];

    /// <summary>The bytes that the device holds for them.</summary>
    public long ByteLength => _buffers.Sum(buffer => buffer.ByteLength);

    public static MambaWeights Load(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend)
    {
        CheckRoom(config, tensors, backend);
        MambaWeights weights = new(backend);
        try
        {
            weights.Embedding = weights.Matrix(tensors[TensorNames.Embedding]);
            weights.Head = config.TieEmbeddings && config.Quantization is null
                ? weights.Embedding
                : weights.Weight(config, tensors, TensorNames.Head, config.HiddenSize);
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

    private LayerWeights Layer(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, int layer)
    {
        MatrixView Small(string name) => name == TensorNames.Convolution(layer)
            ? ChannelInnermost(tensors[name], config.IntermediateSize, value => value)
            : Vector(tensors[name]);
        MatrixView a = ChannelInnermost(tensors[TensorNames.LogA(layer)], config.IntermediateSize, logA => -MathF.Exp(logA));
        WeightView Projection(string name) => Weight(config, tensors, name, name == TensorNames.InProjection(layer) ? config.HiddenSize
            : name == TensorNames.TimeStepProjection(layer) ? config.TimeStepRank
            : config.IntermediateSize);
        return LayerWeights.Of(config, layer, Projection, Small, a);
    }

    /// <summary>Says what the weights take before the first of them is loaded.</summary>
    private static void CheckRoom(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend)
    {
        long bytes = 0, bytesIn16Bits = 0;
        foreach (ExpectedTensor expected in config.StoredTensors())
        {
            StoredTensor tensor = tensors[expected.Name];
            if (expected.Type is not null)
            {
                bytes += tensor.ByteLength;
                bytesIn16Bits += tensor.ByteLength;
                continue;
            }

            bool projection = expected.Shape.Length == 2 && !expected.Name.EndsWith("A_log", StringComparison.Ordinal);
            bytes += tensor.ElementCount * (projection ? backend.WeightTypeFor(tensor.Type) : DataType.Float32).Size();
            bytesIn16Bits += tensor.ElementCount * (projection ? DataType.BFloat16 : DataType.Float32).Size();
        }

        if (backend.AvailableMemory is { } available && bytes > available)
        {
            string remedy = bytesIn16Bits <= available
                ? string.Create(
                    CultureInfo.InvariantCulture, $"With 16-bit activations they would take {bytesIn16Bits:N0} bytes, which fit.")
                : "Choose a smaller model, free device memory, or use the CPU.";
            throw new InsufficientMemoryException(
                string.Create(
                    CultureInfo.InvariantCulture, $"The weights take {bytes:N0} bytes on the device, but {available:N0} are free ")
                + $"({backend.Description}). {remedy}");
        }
    }

    /// <summary>A projection, as stored where the backend takes it so.</summary>
    private MatrixView Matrix(StoredTensor tensor)
    {
        DataType type = _backend.WeightTypeFor(tensor.Type);
        DeviceBuffer buffer = type == tensor.Type
            ? _backend.Import(tensor.Memory, tensor.ByteOffset, tensor.ByteLength)
            : _backend.Allocate(tensor.ElementCount * type.Size());
        _buffers.Add(buffer);
        if (type != tensor.Type)
        {
            Convert(tensor, buffer, type);
        }

        return buffer.Matrix(type, tensor.Shape[0], checked((int)tensor.Shape[1]));
    }

    /// <summary>A weight that activations are multiplied with: a matrix, or its numbers and scales as they are stored.</summary>
    private WeightView Weight(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, string name, int columns)
    {
        if (config.Quantization is not { } quantization)
        {
            return Matrix(tensors[name]);
        }

        StoredTensor numbers = tensors[name], scales = tensors[TensorNames.Scales(name)];
        if (_backend.ActivationType == DataType.Float16)
        {
            CheckFitsFloat16(scales);
        }

        return new QuantizedView(Imported(numbers), Imported(scales), quantization.Layout(columns));
    }

    private MatrixView Imported(StoredTensor tensor)
    {
        DeviceBuffer buffer = _backend.Import(tensor.Memory, tensor.ByteOffset, tensor.ByteLength);
        _buffers.Add(buffer);
        return buffer.Matrix(tensor.Type, tensor.Shape[0], checked((int)tensor.Shape[1]));
    }

    /// <summary>Weights are made in the type of activations where many rows meet them; the greatest number is 127.</summary>
    private static void CheckFitsFloat16(StoredTensor scales)
    {
        float most = (float)Half.MaxValue / 127;
        float[] values = Floats(scales);
        int place = Array.FindIndex(values, value => MathF.Abs(value) > most);
        if (place >= 0)
        {
            throw new CheckpointException(string.Create(
                CultureInfo.InvariantCulture,
                $"Element {place} of {scales} makes weights that are too large for Float16. Compute with BFloat16 or Float32 activations."));
        }
    }

    private void Convert(StoredTensor tensor, DeviceBuffer buffer, DataType type)
    {
        int pieceElements = PieceBytes / sizeof(float), from = tensor.Type.Size(), to = type.Size();
        byte[] piece = new byte[Math.Min(pieceElements, tensor.ElementCount) * to];
        float[] scratch = new float[Math.Min(pieceElements, tensor.ElementCount)];
        for (long start = 0; start < tensor.ElementCount; start += pieceElements)
        {
            int count = (int)Math.Min(pieceElements, tensor.ElementCount - start);
            ReadOnlySpan<byte> source = tensor.Memory.Span(tensor.ByteOffset + (start * from), count * from);
            int lost = WeightConversion.Convert(source, tensor.Type, piece.AsSpan(0, count * to), type, scratch);
            if (lost >= 0)
            {
                throw new CheckpointException(string.Create(
                    CultureInfo.InvariantCulture,
                    $"Element {start + lost} of {tensor} is too large for {type}. Compute with BFloat16 or Float32 activations."));
            }

            _backend.Upload<byte>(piece.AsSpan(0, count * to), buffer.Matrix(type, 1, count, start * to));
        }
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
