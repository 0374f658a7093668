using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // Logits of a thread and step, as in log_probabilities.cu.
    private const int LogitVector = 4;

    // More are faster for few rows and slower for many; the number sets the order of the sum, so it must not depend on the rows.
    private const int MostLogProbabilitiesThreads = 512;

    private static readonly KernelFamily<bool> LogProbabilitiesKernels = new(
        "log_probabilities.cu", aligned => $"mamba::log_probabilities<{Word(aligned)}>", [true, false], describe: aligned => "one pass" + Placed(aligned));

    /// <inheritdoc/>
    protected override void LogProbabilitiesCore(in LogProbabilitiesArgs args)
    {
        if (args.Logits.Rows == 0)
        {
            return;
        }

        int threads = Math.Clamp(RoundUp(DivideUp(args.Logits.Columns, LogitVector), WarpThreads), WarpThreads, MostLogProbabilitiesThreads);
        bool aligned = AreAligned(VectorVariant.Bytes, args.Logits);
        Launch(LogProbabilitiesKernels.Get(_library, aligned), checked((int)args.Logits.Rows), threads, new LogProbabilitiesParams
        {
            Logits = Address(args.Logits),
            TokenIds = Address(args.TokenIds),
            Output = Address(args.Output),
            Fault = _faults.DeviceAddress,
            LogitsStride = args.Logits.RowStride,
            TokenIdsStride = args.TokenIds.RowStride,
            OutputStride = args.Output.RowStride,
            Vocabulary = args.Logits.Columns,
        });
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LogProbabilitiesParams
    {
        public nint Logits;
        public nint TokenIds;
        public nint Output;
        public nint Fault;
        public long LogitsStride;
        public long TokenIdsStride;
        public long OutputStride;
        public int Vocabulary;
    }
}
