namespace MambaCuda.Driver;

/// <summary>How a kernel is launched.</summary>
/// <param name="Grid">The number of blocks.</param>
/// <param name="Block">The number of threads of a block.</param>
/// <param name="DynamicSharedBytes">Shared memory of a block beyond what the kernel declares.</param>
public readonly record struct LaunchConfiguration(Dim3 Grid, Dim3 Block, int DynamicSharedBytes = 0)
{
    /// <summary>How many blocks form a cluster, along each axis; null for none. Needs compute capability 9.0.</summary>
    public Dim3? Cluster { get; init; }

    /// <summary>
    /// Whether the kernel may start before the one before it in the stream has ended (programmatic dependent launch); it must then
    /// wait in its code (griddepcontrol.wait) before it reads what the other wrote. Needs compute capability 9.0.
    /// </summary>
    public bool ProgrammaticStreamSerialization { get; init; }

    /// <summary>Whether all blocks run at once, so that they can wait for each other.</summary>
    public bool Cooperative { get; init; }

    /// <summary>The priority among kernels, as of <see cref="CudaContext.StreamPriorities"/>; null for the stream's.</summary>
    public int? Priority { get; init; }

    internal const int MaxAttributes = 4;

    /// <summary>Writes the driver's form; attributes must have room for <see cref="MaxAttributes"/>.</summary>
    internal unsafe NativeLaunchConfiguration ToNative(nint stream, LaunchAttribute* attributes)
    {
        Check(Grid, nameof(Grid));
        Check(Block, nameof(Block));
        uint count = 0;
        if (Cluster is Dim3 cluster)
        {
            Check(cluster, nameof(Cluster));
            if (Grid.X % cluster.X != 0 || Grid.Y % cluster.Y != 0 || Grid.Z % cluster.Z != 0)
            {
                throw new ArgumentException($"A grid of {Grid} blocks cannot be divided into clusters of {cluster}.");
            }

            attributes[count++] = new LaunchAttribute
            {
                Id = LaunchAttributeId.ClusterDimension,
                ClusterX = (uint)cluster.X,
                ClusterY = (uint)cluster.Y,
                ClusterZ = (uint)cluster.Z,
            };
        }

        if (ProgrammaticStreamSerialization)
        {
            attributes[count++] = new LaunchAttribute { Id = LaunchAttributeId.ProgrammaticStreamSerialization, Value = 1 };
        }

        if (Cooperative)
        {
            attributes[count++] = new LaunchAttribute { Id = LaunchAttributeId.Cooperative, Value = 1 };
        }

        if (Priority is int priority)
        {
            attributes[count++] = new LaunchAttribute { Id = LaunchAttributeId.Priority, Value = priority };
        }

        return new NativeLaunchConfiguration
        {
            GridX = (uint)Grid.X,
            GridY = (uint)Grid.Y,
            GridZ = (uint)Grid.Z,
            BlockX = (uint)Block.X,
            BlockY = (uint)Block.Y,
            BlockZ = (uint)Block.Z,
            SharedBytes = (uint)DynamicSharedBytes,
            Stream = stream,
            Attributes = attributes,
            AttributeCount = count,
        };
    }

    /// <summary>As in "grid 4x1x1, block 256x1x1, 1024 bytes of dynamic shared memory".</summary>
    public override string ToString() =>
        $"grid {Grid}, block {Block}" + (Cluster is Dim3 cluster ? $", cluster {cluster}" : "")
        + (DynamicSharedBytes > 0 ? $", {DynamicSharedBytes} bytes of dynamic shared memory" : "");

    private static void Check(Dim3 size, string name)
    {
        if (size.X < 1 || size.Y < 1 || size.Z < 1)
        {
            throw new ArgumentException($"{name} is {size}; every axis has at least 1.");
        }
    }
}
