using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>A small model with random weights, made in memory.</summary>
internal sealed class TinyCheckpoint : IDisposable
{
    private readonly Dictionary<string, StoredTensor> _tensors = [];
    private readonly List<HostMemory> _memory = [];

    public TinyCheckpoint(MambaConfig? config = null, int seed = 1)
    {
        Config = config ?? new MambaConfig { VocabularySize = 24, HiddenSize = 16, LayerCount = 2, StateSize = 4 };
        Random random = new(seed);
        foreach (ExpectedTensor expected in Config.Tensors())
        {
            Set(expected, i => (float)(random.NextDouble() - 0.5));
        }
    }

    public MambaConfig Config { get; }

    public StoredTensor this[ExpectedTensor expected] => _tensors[expected.Name];

    public StoredTensor this[string name] => _tensors[name];

    public unsafe void Set(ExpectedTensor expected, Func<long, float> value)
    {
        NativeHostMemory memory = new(expected.ElementCount * sizeof(float));
        _memory.Add(memory);
        for (long i = 0; i < expected.ElementCount; i++)
        {
            ((float*)memory.Pointer)[i] = value(i);
        }

        _tensors[expected.Name] = new StoredTensor(expected.Name, DataType.Float32, expected.Shape, memory);
    }

    /// <summary>Writes it, with float32 weights where nothing else is said.</summary>
    public void Write(string directory, CheckpointSaveOptions? options = null) =>
        CheckpointWriter.Write(directory, Config, expected => this[expected], options);

    public void Dispose() => _memory.ForEach(memory => memory.Dispose());

    public static byte[] Bytes(StoredTensor tensor) => tensor.Memory.Span(tensor.ByteOffset, (int)tensor.ByteLength).ToArray();

    /// <summary>The values of a tensor of any weight type.</summary>
    public static float[] Values(StoredTensor tensor) => tensor.Type switch
    {
        DataType.Float32 => MemoryMarshal.Cast<byte, float>(Bytes(tensor)).ToArray(),
        DataType.BFloat16 =>
            [.. MemoryMarshal.Cast<byte, ushort>(Bytes(tensor)).ToArray()
                .Select(bits => BitConverter.UInt32BitsToSingle((uint)bits << 16))],
        _ => [.. MemoryMarshal.Cast<byte, Half>(Bytes(tensor)).ToArray().Select(half => (float)half)],
    };
}
