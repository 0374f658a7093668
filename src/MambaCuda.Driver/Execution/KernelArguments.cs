using System.Runtime.CompilerServices;

namespace MambaCuda.Driver;

/// <summary>
/// The arguments of a kernel that takes several, in order. Can be cleared and filled again without allocating. Pointers are passed as
/// <see cref="nint"/>, <see cref="DeviceMemory"/> or <see cref="DeviceSpan"/>; the caller keeps the memory alive until the kernel is done.
/// </summary>
public sealed unsafe class KernelArguments
{
    // What a kernel can take in all on devices before compute capability 7.0 or with drivers before 12.1; ours take one struct of less.
    private const int MaxBytes = 4096;
    private const int Alignment = 16;

    private readonly byte[] _bytes = GC.AllocateArray<byte>(MaxBytes + Alignment, pinned: true);
    private readonly List<(int Offset, int Length)> _arguments = [];
    private int _used;

    /// <summary>The number of arguments.</summary>
    public int Count => _arguments.Count;

    /// <summary>Adds a number or a struct, which must have the layout that the kernel's parameter has.</summary>
    public KernelArguments Add<T>(T value) where T : unmanaged
    {
        if (sizeof(T) > MaxBytes - _used)
        {
            throw new ArgumentException($"The arguments of a kernel take at most {MaxBytes} bytes in all.", nameof(value));
        }

        Unsafe.WriteUnaligned(ref _bytes[_used], value);
        _arguments.Add((_used, sizeof(T)));
        _used = (_used + sizeof(T) + Alignment - 1) / Alignment * Alignment;
        return this;
    }

    /// <summary>Adds the address of device memory.</summary>
    public KernelArguments Add(DeviceMemory memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        return Add(memory.Address);
    }

    /// <summary>Adds the address of a part of device memory; zero for the default value.</summary>
    public KernelArguments Add(DeviceSpan span) => Add(span.Address);

    /// <summary>Removes all arguments.</summary>
    public void Clear()
    {
        _arguments.Clear();
        _used = 0;
    }

    internal int LengthOf(int index) => _arguments[index].Length;

    internal void WritePointers(void** pointers)
    {
        byte* start = (byte*)Unsafe.AsPointer(ref _bytes[0]); // pinned for good
        for (int i = 0; i < _arguments.Count; i++)
        {
            pointers[i] = start + _arguments[i].Offset;
        }
    }
}
