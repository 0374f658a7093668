using System.Numerics;
using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A model's weights with an adapter's update added: W + scale B A, summed in float32 and rounded once to the type that W has. Weights that
/// the adapter leaves alone are those of the model, without a copy.
/// </summary>
public sealed class MergedWeights : IDisposable
{
    private readonly Dictionary<string, StoredTensor> _tensors;
    private readonly List<NativeHostMemory> _memory = [];

    /// <summary>Adds the update. The adapter is not needed afterwards.</summary>
    /// <param name="tensors">The model's weights; must outlive these.</param>
    /// <param name="adapter">The adapter, of a model of that configuration.</param>
    /// <exception cref="CheckpointException">
    /// The model is quantized, or a sum is too large for the type of the weight; the message names it.
    /// </exception>
    public MergedWeights(IReadOnlyDictionary<string, StoredTensor> tensors, LoraAdapter adapter)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(adapter);
        if (adapter.Config.Quantization is { } quantization)
        {
            throw new CheckpointException(
                $"The model's weights are quantized ({quantization}), and an adapter cannot be merged into them. Merge it into the original "
                + "checkpoint, and quantize the result: mamba-cuda convert MODEL OUT --adapter ADAPTER --quantize TYPE.");
        }

        ExpectedTensor.CheckAll(adapter.Config.Tensors(), tensors);
        _tensors = new(tensors);
        try
        {
            for (int layer = 0; layer < adapter.Config.LayerCount; layer++)
            {
                foreach (string target in adapter.Settings.Targets)
                {
                    string name = TensorNames.Projection(layer, target);
                    _tensors[name] = Merge(
                        tensors[name], adapter.Tensors[TensorNames.LoraA(layer, target)], adapter.Tensors[TensorNames.LoraB(layer, target)],
                        adapter.Settings);
                }
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>All weights by name; valid until <see cref="Dispose"/>.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    /// <inheritdoc/>
    public void Dispose() => _memory.ForEach(memory => memory.Dispose());

    private StoredTensor Merge(StoredTensor weight, StoredTensor a, StoredTensor b, LoraSettings settings)
    {
        int outputs = checked((int)weight.Shape[0]), inputs = checked((int)weight.Shape[1]), rank = settings.Rank;
        float[] narrow = Floats(a), wide = Floats(b);
        float scale = (float)settings.Scale;
        NativeHostMemory memory = new(weight.ByteLength);
        _memory.Add(memory);
        int rowBytes = inputs * weight.Type.Size();
        bool isLost = false;
        Parallel.For(0, outputs, () => (Sums: new float[inputs], Scratch: new float[inputs]), (row, _, local) =>
        {
            float[] sums = local.Sums;
            Array.Clear(sums);
            for (int k = 0; k < rank; k++)
            {
                AddTimes(scale * wide[(row * rank) + k], narrow.AsSpan(k * inputs, inputs), sums);
            }

            ReadOnlySpan<byte> stored = weight.Memory.Span(weight.ByteOffset + ((long)row * rowBytes), rowBytes);
            DataTypes.Widen(stored, weight.Type, local.Scratch);
            AddTimes(1, local.Scratch, sums);
            int lost = WeightConversion.Convert(
                MemoryMarshal.AsBytes<float>(sums), DataType.Float32, Bytes(memory, (long)row * rowBytes, rowBytes), weight.Type,
                local.Scratch);
            if (lost >= 0)
            {
                Volatile.Write(ref isLost, true);
            }

            return local;
        }, _ => { });
        return isLost
            ? throw new CheckpointException(
                $"With the adapter, {weight} holds a number that is too large for its type. Convert the model to Float32.")
            : new StoredTensor(weight.Name, weight.Type, weight.Shape, memory);
    }

    private static void AddTimes(float factor, ReadOnlySpan<float> values, Span<float> sums)
    {
        int i = 0;
        for (Vector<float> factors = new(factor); i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector.FusedMultiplyAdd(factors, new Vector<float>(values[i..]), new Vector<float>(sums[i..])).CopyTo(sums[i..]);
        }

        for (; i < values.Length; i++)
        {
            sums[i] = MathF.FusedMultiplyAdd(factor, values[i], sums[i]);
        }
    }

    private static float[] Floats(StoredTensor tensor)
    {
        float[] values = new float[tensor.ElementCount];
        DataTypes.Widen(tensor.Memory.Span(tensor.ByteOffset, checked((int)tensor.ByteLength)), tensor.Type, values);
        return values;
    }

    private static unsafe Span<byte> Bytes(NativeHostMemory memory, long offset, int count) => new(memory.Pointer + offset, count);
}
