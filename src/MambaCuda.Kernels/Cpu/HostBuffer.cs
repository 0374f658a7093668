namespace MambaCuda.Kernels;

/// <summary>The CPU backend's buffer: a part of host memory, its own or someone else's.</summary>
internal sealed unsafe class HostBuffer : DeviceBuffer
{
    private readonly HostMemory _memory;
    private readonly long _byteOffset;
    private readonly bool _owned;

    public HostBuffer(Backend backend, HostMemory memory, long byteOffset, long byteLength, bool owned) : base(backend, byteLength)
    {
        memory.CheckRange(byteOffset, byteLength);
        _memory = memory;
        _byteOffset = byteOffset;
        _owned = owned;
    }

    public byte* Pointer => _memory.Pointer + _byteOffset;

    protected override void Dispose(bool disposing)
    {
        if (_owned)
        {
            _memory.Dispose();
        }
    }
}
