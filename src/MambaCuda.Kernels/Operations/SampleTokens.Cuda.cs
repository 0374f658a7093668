using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int MostSampleThreads = 1024;

    private static readonly KernelFamily<int> SampleTokensKernels = new(
        "sample_tokens.cu", threads => $"mamba::sample_tokens<{threads}>", [MostSampleThreads], inSteps: true);

    /// <inheritdoc/>
    protected override void SampleTokensCore(in SampleTokensArgs args)
    {
        if (args.Logits.Rows == 0)
        {
            return;
        }

        int vocabulary = args.Logits.Columns;
        int threads = Math.Min(RoundUp(vocabulary, WarpThreads), MostSampleThreads), rows = checked((int)args.Logits.Rows);
        int blocks = SampleBlocks(rows, vocabulary);
        Launch(SampleTokensKernels.Get(_library, MostSampleThreads), checked(rows * blocks), threads, new SampleTokensParams
        {
            Logits = Address(args.Logits),
            Options = Address(args.Options),
            Counts = Address(args.Counts),
            RandomStates = Address(args.RandomStates),
            TokenIds = Address(args.TokenIds),
            LogProbabilities = Address(args.LogProbabilities),
            Work = _scratch.Reserve(args.Logits.Rows * vocabulary * sizeof(float)),
            Fault = _faults.DeviceAddress,
            LogitsStride = args.Logits.RowStride,
            OptionsStride = args.Options.RowStride,
            CountsStride = args.Counts.RowStride,
            RandomStatesStride = args.RandomStates.RowStride,
            TokenIdsStride = args.TokenIds.RowStride,
            LogProbabilitiesStride = args.LogProbabilities.RowStride,
            Vocabulary = vocabulary,
            Blocks = blocks,
        }, overlaps: true, cluster: blocks);
    }

    /// <summary>Blocks of a row: as many as there is room for beside those of the others, and something to read for.</summary>
    private int SampleBlocks(int rows, int vocabulary)
    {
        int most = Context.Device.HasClusterLaunch ? MostClusterBlocks : 1, blocks = 1;
        while (2 * blocks <= most && 2 * blocks * rows <= Context.Device.MultiprocessorCount && vocabulary > 4 * blocks * MostSampleThreads)
        {
            blocks *= 2;
        }

        return blocks;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SampleTokensParams
    {
        public nint Logits;
        public nint Options;
        public nint Counts;
        public nint RandomStates;
        public nint TokenIds;
        public nint LogProbabilities;
        public nint Work;
        public nint Fault;
        public long LogitsStride;
        public long OptionsStride;
        public long CountsStride;
        public long RandomStatesStride;
        public long TokenIdsStride;
        public long LogProbabilitiesStride;
        public int Vocabulary;
        public int Blocks;
    }
}
