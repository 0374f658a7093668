namespace MambaCuda.Kernels;

public sealed unsafe partial class CudaBackend
{
    /// <summary>Every family, for whoever goes through all kernels. (Not by reflection: nothing would be left of it ahead of time.)</summary>
    internal static IReadOnlyList<IKernelFamily> KernelFamilies =>
    [
        AdamWKernels,
        AddRmsNormBackwardKernels,
        AddRmsNormForwardKernels,
        AttentionBackwardKeyAnyKernels,
        AttentionBackwardKeyKernels,
        AttentionBackwardQueryAnyKernels,
        AttentionBackwardQueryKernels,
        AttentionDecodeCombineKernels,
        AttentionDecodeKernels,
        AttentionForwardAnyKernels,
        AttentionForwardKernels,
        AttentionForwardWgmmaKernels,
        CausalConv1dBackwardKernels,
        CausalConv1dForwardKernels,
        CausalConv1dStateBackwardKernels,
        CausalConv1dUpdateKernels,
        ColumnSumsKernels,
        CrossEntropyKernels,
        EmbeddingBackwardKernels,
        EmbeddingForwardKernels,
        GatherRowsKernels,
        GradientNormFinishKernels,
        GradientNormKernels,
        LinearMmaKernels,
        LinearSimtKernels,
        LinearVectorKernels,
        LinearVectorMmaKernels,
        LinearWgmmaKernels,
        LogProbabilitiesKernels,
        PartialSumsKernels,
        SampleTokensKernels,
        SelectiveScanBackwardAnyKernels,
        SelectiveScanBackwardKernels,
        SelectiveScanChunksKernels,
        SelectiveScanForwardAnyKernels,
        SelectiveScanForwardKernels,
        SelectiveStateUpdateKernels,
        StateMatrixBackwardKernels,
        StateMatrixForwardKernels,
        TransposeKernels,
    ];
}
