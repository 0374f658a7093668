using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A model's tensors as a quantized checkpoint holds them, made one at a time as they are asked for: a weight's scales once, and kept, since
/// its numbers, which are many, are rounded by them.
/// </summary>
internal sealed class QuantizedWeights : IDisposable
{
    private readonly MambaConfig _config;
    private readonly IReadOnlyDictionary<string, StoredTensor> _tensors;
    private readonly CancellationToken _cancellation;
    private readonly Dictionary<string, NativeHostMemory> _scales = [];
    private NativeHostMemory? _numbers;

    /// <summary>Makes nothing yet.</summary>
    /// <param name="config">The configuration of the quantized checkpoint.</param>
    /// <param name="tensors">The model's tensors, none of them quantized; must outlive these.</param>
    /// <param name="cancellation">Ends the making of one.</param>
    public QuantizedWeights(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, CancellationToken cancellation)
    {
        _config = config;
        _tensors = tensors;
        _cancellation = cancellation;
    }

    /// <summary>
    /// One of <see cref="MambaConfig.StoredTensors"/>; what is not quantized is the model's own. Valid until the next is asked for.
    /// </summary>
    /// <exception cref="CheckpointException">The weight holds a number that is not finite; the message names it.</exception>
    public StoredTensor Get(ExpectedTensor expected)
    {
        if (expected.Type is null)
        {
            return _tensors[expected.Name];
        }

        string name = TensorNames.OfScales(expected.Name) ?? expected.Name;
        StoredTensor weight = _tensors[name == TensorNames.Head && _config.TieEmbeddings ? TensorNames.Embedding : name];
        QuantizedLayout layout = _config.Quantization!.Layout(checked((int)weight.Shape[1]));
        if (!_scales.TryGetValue(name, out NativeHostMemory? scales))
        {
            scales = FindScales(weight, layout);
            _scales.Add(name, scales);
        }

        if (name != expected.Name)
        {
            return new StoredTensor(expected.Name, DataType.BFloat16, expected.Shape, scales);
        }

        _numbers?.Dispose();
        _numbers = new NativeHostMemory(weight.Shape[0] * layout.RowBytes);
        NativeHostMemory numbers = _numbers;
        ForEachRow(weight, (row, floats) => layout.Quantize(
            floats, Scales(scales, layout, row), Part(numbers, row * layout.RowBytes, layout.RowBytes)));
        return new StoredTensor(expected.Name, layout.StoredType, expected.Shape, numbers);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _numbers?.Dispose();
        foreach (NativeHostMemory memory in _scales.Values)
        {
            memory.Dispose();
        }
    }

    private NativeHostMemory FindScales(StoredTensor weight, QuantizedLayout layout)
    {
        NativeHostMemory scales = new(weight.Shape[0] * layout.Groups * sizeof(ushort));
        try
        {
            bool isFinite = true;
            ForEachRow(weight, (row, floats) =>
            {
                if (!layout.FindScales(floats, Scales(scales, layout, row)))
                {
                    Volatile.Write(ref isFinite, false);
                }
            });
            return isFinite ? scales : throw new CheckpointException($"{weight} holds a number that is not finite, and cannot be quantized.");
        }
        catch
        {
            scales.Dispose();
            throw;
        }
    }

    private void ForEachRow(StoredTensor weight, RowAction action)
    {
        int columns = (int)weight.Shape[1], rowBytes = checked(columns * weight.Type.Size());
        ParallelOptions options = new() { CancellationToken = _cancellation };
        Parallel.For(0, weight.Shape[0], options, () => new float[columns], (row, _, floats) =>
        {
            DataTypes.Widen(weight.Memory.Span(weight.ByteOffset + (row * rowBytes), rowBytes), weight.Type, floats);
            action(row, floats);
            return floats;
        }, _ => { });
    }

    private static Span<ushort> Scales(NativeHostMemory memory, QuantizedLayout layout, long row)
    {
        int bytes = layout.Groups * sizeof(ushort);
        return MemoryMarshal.Cast<byte, ushort>(Part(memory, row * bytes, bytes));
    }

    private static unsafe Span<byte> Part(NativeHostMemory memory, long offset, int count) => new(memory.Pointer + offset, count);

    private delegate void RowAction(long row, ReadOnlySpan<float> floats);
}
