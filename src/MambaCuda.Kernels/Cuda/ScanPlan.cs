namespace MambaCuda.Kernels;

/// <summary>How a block of the selective scan is cut, as ScanShape in selective_scan_forward.cu.</summary>
/// <param name="States">The state size.</param>
/// <param name="Lanes">Lanes that share the states of a channel.</param>
/// <param name="Channels">Channels of a block.</param>
/// <param name="Steps">Time steps of a tile.</param>
/// <param name="WorkerWarps">Warps that load, convert, gate and store.</param>
/// <param name="Piece">Channels that such a thread takes at once.</param>
internal readonly record struct ScanShape(int States, int Lanes, int Channels, int Steps, int WorkerWarps, int Piece)
{
    /// <summary>The C++ type.</summary>
    public string Expression => $"mamba::ScanShape<{States}, {Lanes}, {Channels}, {Steps}, {WorkerWarps}, {Piece}>";

    /// <summary>As in "2 lanes 64x32": lanes of a channel, channels and steps of a tile.</summary>
    public override string ToString() => $"{Lanes} {(Lanes == 1 ? "lane" : "lanes")} {Channels}x{Steps}";

    /// <summary>Threads of a block.</summary>
    public int Threads => (Channels * Lanes) + (32 * WorkerWarps);

    /// <summary>Shared memory of a block in bytes: two stages of inputs, B and C, and sums, with the paddings of the kernel.</summary>
    public int SharedBytes
    {
        get
        {
            int inputs = (Channels * ((2 * Steps) + 4)) + (Channels / Piece * 8);
            int matrices = Steps * ((2 * States) + 4);
            int sums = Steps * (Channels + 4);
            return 2 * (inputs + matrices + sums) * sizeof(float);
        }
    }
}

/// <summary>Which kernel a scan takes.</summary>
/// <param name="Shape">How a block is cut.</param>
/// <param name="Aligned">Whether rows are read in vectors.</param>
/// <param name="Chunks">Chunks of every sequence; 1 for a scan in one piece.</param>
/// <param name="ChunkLength">Steps of a chunk.</param>
internal readonly record struct ScanPlan(ScanShape Shape, bool Aligned, int Chunks, long ChunkLength);
