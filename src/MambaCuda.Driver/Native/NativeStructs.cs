using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>CUlaunchConfig.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeLaunchConfiguration
{
    public uint GridX;
    public uint GridY;
    public uint GridZ;
    public uint BlockX;
    public uint BlockY;
    public uint BlockZ;
    public uint SharedBytes;
    public nint Stream;
    public LaunchAttribute* Attributes;
    public uint AttributeCount;
}

/// <summary>CUlaunchAttribute: an id and a union of 64 bytes, of which we use the members below.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal struct LaunchAttribute
{
    [FieldOffset(0)]
    public LaunchAttributeId Id;

    [FieldOffset(8)]
    public int Value;

    [FieldOffset(8)]
    public uint ClusterX;

    [FieldOffset(12)]
    public uint ClusterY;

    [FieldOffset(16)]
    public uint ClusterZ;
}

/// <summary>CUlaunchAttributeID.</summary>
internal enum LaunchAttributeId
{
    Cooperative = 2,
    ClusterDimension = 4,
    ProgrammaticStreamSerialization = 6,
    Priority = 8,
}

/// <summary>CUfunction_attribute.</summary>
internal enum FunctionAttribute
{
    MaxThreadsPerBlock = 0,
    SharedBytes = 1,
    ConstantBytes = 2,
    LocalBytes = 3,
    Registers = 4,
    PtxVersion = 5,
    BinaryVersion = 6,
    MaxDynamicSharedBytes = 8,
    PreferredSharedCarveout = 9,
    NonPortableClusterSizeAllowed = 14,
}

/// <summary>CUjit_option.</summary>
internal enum JitOption
{
    ErrorLogBuffer = 5,
    ErrorLogBufferBytes = 6,
}

/// <summary>CUmemPool_attribute.</summary>
internal enum MemoryPoolAttribute
{
    ReleaseThreshold = 4,
    ReservedNow = 5,
    ReservedHigh = 6,
    UsedNow = 7,
    UsedHigh = 8,
}

/// <summary>CUmemPoolProps: memory pinned to one device, not shared between processes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MemoryPoolProperties
{
    public const int Pinned = 1;
    public const int OnDevice = 1;

    public int AllocationType;
    public int HandleTypes;
    public int LocationType;
    public int LocationId;
    public nint SecurityAttributes;
    public nuint MaxBytes;
    public fixed byte Reserved[56];
}

/// <summary>CUgraphExecUpdateResultInfo.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GraphUpdateResult
{
    public GraphUpdateOutcome Outcome;
    public nint ErrorNode;
    public nint ErrorFromNode;
}
