using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>A GPU that the driver shows to this process.</summary>
public sealed unsafe class CudaDevice
{
    private CudaDevice(int ordinal, int handle)
    {
        Ordinal = ordinal;
        Handle = handle;
        Name = ReadText((buffer, capacity) => CudaApi.cuDeviceGetName(buffer, capacity, handle), "reading a device's name");
        PciBusId = ReadText((buffer, capacity) => CudaApi.cuDeviceGetPCIBusId(buffer, capacity, handle), "reading a device's PCI address");
        CudaException.ThrowIfFailed(CudaApi.cuDeviceTotalMem_v2(out nuint bytes, handle), "reading a device's memory size");
        TotalMemory = checked((long)bytes);
        ComputeCapability = new ComputeCapability(
            Attribute(CudaDeviceAttribute.ComputeCapabilityMajor), Attribute(CudaDeviceAttribute.ComputeCapabilityMinor));
        MultiprocessorCount = Attribute(CudaDeviceAttribute.MultiprocessorCount);
    }

    /// <summary>The number of devices; 0 where CUDA is not available.</summary>
    public static int Count
    {
        get
        {
            if (!CudaDriver.IsAvailable)
            {
                return 0;
            }

            CudaException.ThrowIfFailed(CudaApi.cuDeviceGetCount(out int count), "counting devices");
            return count;
        }
    }

    /// <summary>All devices; none where CUDA is not available.</summary>
    public static IReadOnlyList<CudaDevice> All => [.. Enumerable.Range(0, Count).Select(Get)];

    /// <summary>The device with a number, counted as CUDA_VISIBLE_DEVICES lets them be seen.</summary>
    /// <exception cref="CudaUnavailableException">CUDA cannot be used here.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such device.</exception>
    public static CudaDevice Get(int ordinal)
    {
        CudaDriver.ThrowIfUnavailable();
        int count = Count;
        if (ordinal < 0 || ordinal >= count)
        {
            throw new ArgumentOutOfRangeException(
                nameof(ordinal), ordinal, $"There is no device {ordinal}; this machine has {count}, counted from 0.");
        }

        CudaException.ThrowIfFailed(CudaApi.cuDeviceGet(out int handle, ordinal), $"opening device {ordinal}");
        return new CudaDevice(ordinal, handle);
    }

    /// <summary>The number of the device in this process.</summary>
    public int Ordinal { get; }

    /// <summary>The driver's handle (CUdevice).</summary>
    public int Handle { get; }

    /// <summary>The card's name.</summary>
    public string Name { get; }

    /// <summary>Where it sits, as in "0000:3b:00.0".</summary>
    public string PciBusId { get; }

    /// <summary>Its generation.</summary>
    public ComputeCapability ComputeCapability { get; }

    /// <summary>Its streaming multiprocessors.</summary>
    public int MultiprocessorCount { get; }

    /// <summary>Its memory in bytes.</summary>
    public long TotalMemory { get; }

    /// <summary>Its identity, the same in every process; in the byte order of nvidia-smi's GPU-... name.</summary>
    public Guid Uuid
    {
        get
        {
            byte* bytes = stackalloc byte[16];
            CudaException.ThrowIfFailed(CudaApi.cuDeviceGetUuid_v2((Guid*)bytes, Handle), $"reading the identity of {this}");
            return new Guid(new ReadOnlySpan<byte>(bytes, 16), bigEndian: true);
        }
    }

    /// <summary>
    /// Whether stream-ordered allocation (<see cref="CudaStream.Allocate(long)"/>, <see cref="MemoryPool"/>) is possible.
    /// </summary>
    public bool HasMemoryPools => Attribute(CudaDeviceAttribute.MemoryPoolsSupported) != 0;

    /// <summary>Whether a launch can group blocks into clusters.</summary>
    public bool HasClusterLaunch => Attribute(CudaDeviceAttribute.ClusterLaunch) != 0;

    /// <summary>Asks for an attribute.</summary>
    public int Attribute(CudaDeviceAttribute attribute)
    {
        CudaException.ThrowIfFailed(
            CudaApi.cuDeviceGetAttribute(out int value, attribute, Handle), $"reading attribute {attribute} of device {Ordinal}");
        return value;
    }

    /// <summary>
    /// Takes part in the device's primary context, which the CUDA runtime (and so PyTorch and ILGPU) uses too.
    /// Disposing the result ends the part taken here; the context lives as long as anybody has one.
    /// </summary>
    public CudaContext RetainPrimaryContext()
    {
        CudaException.ThrowIfFailed(CudaApi.cuDevicePrimaryCtxRetain(out nint handle, Handle), $"retaining the primary context of {this}");
        return new CudaContext(this, handle, isOwned: true);
    }

    /// <summary>The pool that stream-ordered allocations come from unless another is named. Not to be disposed of.</summary>
    public MemoryPool DefaultMemoryPool
    {
        get
        {
            CudaException.ThrowIfFailed(
                CudaApi.cuDeviceGetDefaultMemPool(out nint handle, Handle), $"finding the default memory pool of {this}");
            return new MemoryPool(this, handle, isOwned: false);
        }
    }

    /// <summary>Creates a pool of its own for stream-ordered allocations.</summary>
    public MemoryPool CreateMemoryPool()
    {
        MemoryPoolProperties properties = new()
        {
            AllocationType = MemoryPoolProperties.Pinned,
            LocationType = MemoryPoolProperties.OnDevice,
            LocationId = Ordinal,
        };
        CudaException.ThrowIfFailed(CudaApi.cuMemPoolCreate(out nint handle, &properties), $"creating a memory pool on {this}");
        return new MemoryPool(this, handle, isOwned: true);
    }

    /// <summary>Number and name, as in "device 0 (NVIDIA H200)".</summary>
    public override string ToString() => $"device {Ordinal} ({Name})";

    internal static CudaDevice OfHandle(int handle) =>
        All.FirstOrDefault(device => device.Handle == handle)
        ?? throw new CudaException(CudaError.InvalidDevice, $"looking for the device with handle {handle}");

    private delegate CudaError TextReader(byte* buffer, int capacity);

    private static string ReadText(TextReader read, string action)
    {
        const int Capacity = 256;
        byte* buffer = stackalloc byte[Capacity];
        CudaException.ThrowIfFailed(read(buffer, Capacity), action);
        return Marshal.PtrToStringUTF8((nint)buffer)!;
    }
}
