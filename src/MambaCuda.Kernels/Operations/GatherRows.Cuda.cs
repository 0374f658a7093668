using System.Numerics;
using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int GatherThreads = 256;

    // Types of CUDA that are 1, 2, 4 and 16 bytes large.
    private static readonly KernelFamily<int> GatherRowsKernels = new(
        "gather_rows.cu",
        bytes => bytes switch
        {
            16 => "mamba::gather_rows<uint4>",
            4 => "mamba::gather_rows<unsigned int>",
            2 => "mamba::gather_rows<unsigned short>",
            _ => "mamba::gather_rows<unsigned char>",
        },
        [16, 4, 2, 1],
        describe: bytes => bytes == 1 ? "1 byte" : $"{bytes} bytes", inSteps: true);

    /// <inheritdoc/>
    protected override void GatherRowsCore(in GatherRowsArgs args)
    {
        if (args.Indices.Rows == 0 || args.Source.Columns == 0)
        {
            return;
        }

        int size = args.Source.Type.Size();
        long rowBytes = (long)args.Source.Columns * size, sourceStride = args.Source.RowStride * size, destinationStride = args.Destination.RowStride * size;
        int zeros = BitOperations.TrailingZeroCount(rowBytes | sourceStride | destinationStride | Address(args.Source) | Address(args.Destination));
        int unit = zeros switch { >= 4 => 16, >= 2 => 4, 1 => 2, _ => 1 };
        Launch(GatherRowsKernels.Get(_library, unit), checked((int)args.Indices.Rows), GatherThreads, new GatherRowsParams
        {
            Source = Address(args.Source),
            Indices = Address(args.Indices),
            Destination = Address(args.Destination),
            Fault = _faults.DeviceAddress,
            SourceRows = args.Source.Rows,
            SourceStride = sourceStride / unit,
            DestinationStride = destinationStride / unit,
            IndicesStride = checked((int)args.Indices.RowStride),
            Units = checked((int)(rowBytes / unit)),
        }, overlaps: true);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct GatherRowsParams
    {
        public nint Source;
        public nint Indices;
        public nint Destination;
        public nint Fault;
        public long SourceRows;
        public long SourceStride;
        public long DestinationStride;
        public int IndicesStride;
        public int Units;
    }
}
