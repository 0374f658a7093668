namespace MambaCuda.Driver;

/// <summary>
/// What can be asked of a device (CUdevice_attribute). Others than these can be asked too, by CUDA's number.
/// </summary>
public enum CudaDeviceAttribute
{
    /// <summary>Most threads of a block.</summary>
    MaxThreadsPerBlock = 1,

    /// <summary>Largest first dimension of a grid.</summary>
    MaxGridX = 5,

    /// <summary>Shared memory that a block has without asking, in bytes.</summary>
    MaxSharedBytesPerBlock = 8,

    /// <summary>Threads of a warp.</summary>
    WarpSize = 10,

    /// <summary>32-bit registers that a block can have.</summary>
    MaxRegistersPerBlock = 12,

    /// <summary>Highest clock in kHz.</summary>
    ClockRate = 13,

    /// <summary>Streaming multiprocessors.</summary>
    MultiprocessorCount = 16,

    /// <summary>1 for a GPU that shares the host's memory.</summary>
    Integrated = 18,

    /// <summary>Highest memory clock in kHz.</summary>
    MemoryClockRate = 36,

    /// <summary>Width of the memory bus in bits.</summary>
    MemoryBusWidth = 37,

    /// <summary>Level-2 cache in bytes.</summary>
    L2CacheBytes = 38,

    /// <summary>Threads that a multiprocessor can hold.</summary>
    MaxThreadsPerMultiprocessor = 39,

    /// <summary>The generation's major number.</summary>
    ComputeCapabilityMajor = 75,

    /// <summary>The generation's minor number.</summary>
    ComputeCapabilityMinor = 76,

    /// <summary>Shared memory of a multiprocessor, in bytes.</summary>
    MaxSharedBytesPerMultiprocessor = 81,

    /// <summary>32-bit registers of a multiprocessor.</summary>
    MaxRegistersPerMultiprocessor = 82,

    /// <summary>1 where cooperative launches are possible.</summary>
    CooperativeLaunch = 95,

    /// <summary>Shared memory that a block can have when its kernel asks for it, in bytes.</summary>
    MaxSharedBytesPerBlockOptIn = 97,

    /// <summary>Blocks that a multiprocessor can hold.</summary>
    MaxBlocksPerMultiprocessor = 106,

    /// <summary>1 where stream-ordered allocation is possible.</summary>
    MemoryPoolsSupported = 115,

    /// <summary>1 where thread-block clusters are possible.</summary>
    ClusterLaunch = 120,
}
