using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private static readonly KernelFamily<int> StateMatrixBackwardKernels = new(
        "state_matrix_backward.cu",
        threads => $"mamba::state_matrix_backward<{threads}>",
        [StateMatrixThreads],
        describe: _ => "single elements");

    /// <inheritdoc/>
    protected override void StateMatrixBackwardCore(in StateMatrixBackwardArgs args)
    {
        if (args.A.Rows == 0 || args.A.Columns == 0)
        {
            return;
        }

        CudaKernel kernel = StateMatrixBackwardKernels.Get(_library, StateMatrixThreads);
        Launch(kernel, StateMatrixGrid(args.A), StateMatrixThreads, new StateMatrixBackwardParams
        {
            A = Address(args.A),
            GradA = Address(args.GradA),
            GradLogA = Address(args.GradLogA),
            AStride = args.A.RowStride,
            GradAStride = args.GradA.RowStride,
            GradLogAStride = args.GradLogA.RowStride,
            States = args.A.Rows,
            Channels = args.A.Columns,
        });
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct StateMatrixBackwardParams
    {
        public nint A;
        public nint GradA;
        public nint GradLogA;
        public long AStride;
        public long GradAStride;
        public long GradLogAStride;
        public long States;
        public int Channels;
    }
}
