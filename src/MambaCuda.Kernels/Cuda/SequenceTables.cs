using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>The device's form of a <see cref="SequenceLayout"/>, as in mamba/sequences.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SequenceTable
{
    /// <summary>The address of the first row of each sequence and the number of rows (64-bit); 0 where all have one length.</summary>
    public nint Starts;

    /// <summary>The address of the state slot of each sequence (32-bit); 0 where sequence i has slot i.</summary>
    public nint Slots;

    /// <summary>The address of the first checkpoint of each sequence (64-bit); 0 where all have one length.</summary>
    public nint Checkpoints;

    /// <summary>The length of each sequence where all have one.</summary>
    public long Length;

    /// <summary>The number of sequences.</summary>
    public int Count;
}

/// <summary>
/// Brings layouts to the device, each once: a pass uses one layout in every layer. Sequences of one length in their own slots, as in decode
/// and most prefill, need nothing there.
/// </summary>
internal sealed class SequenceTables(CudaBackend backend) : IDisposable
{
    // A pass of a batch uses one layout; cut into chunks, one a chunk.
    private const int Kept = 8;

    private readonly (SequenceLayout? Layout, DeviceMemory? Memory)[] _entries = new (SequenceLayout?, DeviceMemory?)[Kept];
    private int _next;

    /// <summary>The table of a layout; valid for operations that are put into the stream before the next eight other layouts.</summary>
    public SequenceTable For(SequenceLayout layout)
    {
        if (layout.IsUniform)
        {
            return new SequenceTable { Length = layout.MaxLength, Count = layout.Count };
        }

        DeviceMemory memory = Find(layout) ?? Bring(layout);
        return new SequenceTable
        {
            Starts = memory.Address,
            Checkpoints = memory.Address + ((layout.Count + 1) * sizeof(long)),
            Slots = memory.Address + ((layout.Count + 1) * 2 * sizeof(long)),
            Count = layout.Count,
        };
    }

    public void Dispose()
    {
        foreach ((_, DeviceMemory? memory) in _entries)
        {
            memory?.Dispose();
        }
    }

    private DeviceMemory? Find(SequenceLayout layout)
    {
        foreach ((SequenceLayout? kept, DeviceMemory? memory) in _entries)
        {
            if (ReferenceEquals(kept, layout))
            {
                return memory;
            }
        }

        return null;
    }

    private DeviceMemory Bring(SequenceLayout layout)
    {
        byte[] bytes =
        [
            .. MemoryMarshal.AsBytes(layout.Starts),
            .. MemoryMarshal.AsBytes(layout.CheckpointStarts(backend.ScanCheckpointSteps)),
            .. MemoryMarshal.AsBytes(layout.Slots),
        ];
        ref (SequenceLayout? Layout, DeviceMemory? Memory) entry = ref _entries[_next];
        _next = (_next + 1) % Kept;
        entry.Layout = null;
        if (entry.Memory is null || entry.Memory.ByteLength < bytes.Length)
        {
            entry.Memory?.Dispose();
            entry.Memory = null;
            entry.Memory = backend.AllocateMemory(Math.Max(bytes.Length, 1024));
        }

        // The same stream: what still reads the old content runs before this.
        backend.Stream.Upload<byte>(bytes, entry.Memory.Slice(0, bytes.Length));
        entry.Layout = layout;
        return entry.Memory;
    }
}
