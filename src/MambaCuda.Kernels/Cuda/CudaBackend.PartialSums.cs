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
    /// Writes the sums of the matrices that the blocks of a kernel left, or adds them to what is there. The number of parts alone decides on
    /// the order of the terms.
    /// </summary>
    /// <param name="partStride">Elements from one part to the next.</param>
    /// <param name="rowStride">Elements from one row of a part to the next.</param>
    /// <param name="parts">How many parts there are.</param>
    /// <param name="add">Whether what a destination holds is a term too.</param>
    /// <param name="sums">
    /// For each sum the first element of its first part, Float32, which has the rows and columns of the destination; and the destination:
    /// all of one weight's type; those that are none are passed over.
    /// </param>
    internal void SumPartials(
        long partStride, long rowStride, int parts, bool add, params ReadOnlySpan<(nint Partials, MatrixView Destination)> sums)
    {
        const int MostAtOnce = 4;
        int slices = Math.Clamp((int)BitOperations.RoundUpToPowerOf2((uint)DivideUp(Math.Max(parts, 1), PartsOfSlice)), 1, WarpThreads);
        int width = Math.Max(SumThreads / slices, WarpThreads);
        PartialSumsParams parameters = new() { PartStride = partStride, PartialStride = rowStride, Parts = parts, Adds = add ? 1 : 0 };
        Span<PartialSum> together = stackalloc PartialSum[MostAtOnce];
        int count = 0;
        long mostElements = 0;
        DataType type = default;
        for (int i = 0; i < sums.Length; i++)
        {
            (nint partials, MatrixView destination) = sums[i];
            if (!destination.IsNone && destination.Rows > 0 && destination.Columns > 0)
            {
                type = destination.Type;
                together[count++] = new PartialSum
                {
                    Partials = partials,
                    Destination = Address(destination),
                    DestinationStride = destination.RowStride,
                    Elements = destination.Rows * destination.Columns,
                    Columns = destination.Columns,
                };
                mostElements = Math.Max(mostElements, together[count - 1].Elements);
            }

            if (count > 0 && (count == MostAtOnce || i == sums.Length - 1))
            {
                (parameters.First, parameters.Second, parameters.Third, parameters.Fourth) = (together[0], together[1], together[2], together[3]);
                CudaKernel kernel = PartialSumsKernels.Get(_library, new VectorVariant(type, Elements: 1));
                Launch(kernel, new Dim3(checked((int)DivideUp(mostElements, width)), count), new Dim3(width, slices), parameters);
                (count, mostElements) = (0, 0);
            }
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PartialSum
    {
        public nint Partials;
        public nint Destination;
        public long DestinationStride;
        public long Elements;
        public int Columns;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PartialSumsParams
    {
        public PartialSum First;
        public PartialSum Second;
        public PartialSum Third;
        public PartialSum Fourth;
        public long PartStride;
        public long PartialStride;
        public int Parts;
        public int Adds;
    }
}
