using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int StateMatrixThreads = 256;

    // A grid has no more rows.
    private const int MostStateMatrixRows = 65_535;

    private static readonly KernelFamily<int> StateMatrixForwardKernels = new(
        "state_matrix_forward.cu",
        threads => $"mamba::state_matrix_forward<{threads}>",
        [StateMatrixThreads],
        describe: _ => "single elements");

    /// <inheritdoc/>
    protected override void StateMatrixForwardCore(in StateMatrixForwardArgs args)
    {
        if (args.A.Rows == 0 || args.A.Columns == 0)
        {
            return;
        }

        CudaKernel kernel = StateMatrixForwardKernels.Get(_library, StateMatrixThreads);
        Launch(kernel, StateMatrixGrid(args.A), StateMatrixThreads, new StateMatrixForwardParams
        {
            LogA = Address(args.LogA),
            A = Address(args.A),
            LogAStride = args.LogA.RowStride,
            AStride = args.A.RowStride,
            States = args.A.Rows,
            Channels = args.A.Columns,
        });
    }

    private static Dim3 StateMatrixGrid(in MatrixView a) =>
        new(DivideUp(a.Columns, StateMatrixThreads), (int)Math.Min(a.Rows, MostStateMatrixRows));

    [StructLayout(LayoutKind.Sequential)]
    private struct StateMatrixForwardParams
    {
        public nint LogA;
        public nint A;
        public long LogAStride;
        public long AStride;
        public long States;
        public int Channels;
    }
}
