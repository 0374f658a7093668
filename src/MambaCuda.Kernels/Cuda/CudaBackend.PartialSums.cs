using System.Numerics;
using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <summary>Parts that a thread adds up, where there are so many: what is asked of memory at once in partial_sums.cu.</summary>
    private const int PartsOfSlice = 8;

    private const int SumThreads = 256;

    private static readonly KernelFamily<VectorVariant> PartialSumsKernels = new(
        "partial_sums.cu",
        variant => $"mamba::partial_sums<{TypeName(variant.Type)}>",
        VectorVariant.ActivationTypes.Select(type => new VectorVariant(type, Elements: 1)),
        describe: _ => "sum of parts");

    /// <summary>
    /// Writes the sum of the matrices that the blocks of a kernel left, or adds it to what is there. The number of parts alone decides on
    /// the order of the terms. Nothing where there is no destination.
    /// </summary>
    /// <param name="partials">The first element of the first part; Float32, a part has the rows and columns of the destination.</param>
    /// <param name="partStride">Elements from one part to the next.</param>
    /// <param name="rowStride">Elements from one row of a part to the next.</param>
    /// <param name="parts">How many parts there are.</param>
    /// <param name="destination">Of a weight's type; or none.</param>
    /// <param name="add">Whether what the destination holds is a term too.</param>
    internal void SumPartials(nint partials, long partStride, long rowStride, int parts, in MatrixView destination, bool add)
    {
        if (destination.IsNone || destination.Rows == 0 || destination.Columns == 0)
        {
            return;
        }

        int slices = Math.Clamp((int)BitOperations.RoundUpToPowerOf2((uint)DivideUp(Math.Max(parts, 1), PartsOfSlice)), 1, WarpThreads);
        int width = Math.Max(SumThreads / slices, WarpThreads);
        long elements = destination.Rows * destination.Columns;
        Dim3 block = new(width, slices);
        CudaKernel kernel = PartialSumsKernels.Get(_library, new VectorVariant(destination.Type, Elements: 1));
        Launch(kernel, checked((int)DivideUp(elements, width)), block, new PartialSumsParams
        {
            Partials = partials,
            Destination = Address(destination),
            PartStride = partStride,
            PartialStride = rowStride,
            DestinationStride = destination.RowStride,
            Elements = elements,
            Columns = destination.Columns,
            Parts = parts,
            Adds = add ? 1 : 0,
        });
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PartialSumsParams
    {
        public nint Partials;
        public nint Destination;
        public long PartStride;
        public long PartialStride;
        public long DestinationStride;
        public long Elements;
        public int Columns;
        public int Parts;
        public int Adds;
    }
}
