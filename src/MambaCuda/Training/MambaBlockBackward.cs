using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The gradients of one block, in the reverse of <see cref="MambaBlock.Forward"/>'s order. What the tape has not kept is computed again first.
/// </summary>
internal static class MambaBlockBackward
{
    /// <summary>
    /// From the gradient of the block's output to that of its normalised input; adds the gradients of its weights but the in-projection's,
    /// see <see cref="InProjectionGradients"/>, and turns the gradient of the states after it into that of the states before. Gradients that
    /// are none are not computed: those of frozen weights.
    /// </summary>
    /// <param name="config">The sizes.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="gradients">The model's gradients.</param>
    /// <param name="layer">Which of them are the layer's.</param>
    /// <param name="block">The activations.</param>
    /// <param name="recomputation">
    /// Which of the activations are there; the others are made, but for <see cref="BlockOperands.Normalized"/>: that must be there where the
    /// in-projection's output is to be made again, and is not read elsewhere.
    /// </param>
    /// <param name="work">Holds the gradients of activations; GradBlockOutput goes in, GradNormalized comes out.</param>
    /// <param name="gradConvolution">Gradient of the convolution's states, in place; or none.</param>
    /// <param name="gradScan">Gradient of the scan's states, in place; or none.</param>
    /// <param name="backend">What computes.</param>
    public static void Run(
        MambaConfig config, LayerWeights weights, ModelGradients gradients, int layer, in BlockOperands block, Recomputation recomputation,
        TrainingWorkspace work, MatrixView gradConvolution, MatrixView gradScan, Backend backend)
    {
        LayerWeights own = gradients.Layers[layer];
        if (recomputation != Recomputation.Scan)
        {
            Recompute(config, weights, block, isStored: recomputation == Recomputation.Mixer, backend);
        }

        // Through the out-projection: its weight's gradient waits until the scan has made its result again.
        backend.LinearBackward(new LinearBackwardArgs
        {
            Weight = weights.OutProjection.Matrix,
            GradY = work.GradBlockOutput,
            GradX = work.GradInner,
        });
        weights.Adapters.OutProjection.InputGradient(block.Adapters, work.GradBlockOutput, work.GradInner, backend);
        Scan(config, weights, own, block, work, gradScan, backend);
        backend.LinearBackward(new LinearBackwardArgs
        {
            X = block.Gated,
            GradY = work.GradBlockOutput,
            GradWeight = own.OutProjection.Matrix,
            OverwritesGradWeight = gradients.IsFirst(own.OutProjection.Matrix),
            GradBias = own.OutProjectionBias,
        });
        weights.Adapters.OutProjection.Gradients(
            own.Adapters.OutProjection, block.Adapters, block.Gated, work.GradBlockOutput, gradX: default, backend);

        // The convolution's result is read twice: by the scan, and by the projection that makes the scan's inputs.
        backend.LinearBackward(new LinearBackwardArgs
        {
            X = MambaBlock.LowRankDelta(config, block.ScanInputs),
            Weight = weights.TimeStepProjection.Matrix,
            GradY = work.GradDelta,
            GradX = MambaBlock.LowRankDelta(config, work.GradScanInputs),
            GradWeight = own.TimeStepProjection.Matrix,
            OverwritesGradWeight = gradients.IsFirst(own.TimeStepProjection.Matrix),
        });
        weights.Adapters.TimeStepProjection.Gradients(
            own.Adapters.TimeStepProjection, block.Adapters, MambaBlock.LowRankDelta(config, block.ScanInputs), work.GradDelta,
            MambaBlock.LowRankDelta(config, work.GradScanInputs), backend);
        backend.LinearBackward(new LinearBackwardArgs
        {
            X = block.Inner,
            Weight = weights.ScanProjection.Matrix,
            GradY = work.GradScanInputs,
            GradX = work.GradInnerByScanInputs,
            GradWeight = own.ScanProjection.Matrix,
            OverwritesGradWeight = gradients.IsFirst(own.ScanProjection.Matrix),
        });
        weights.Adapters.ScanProjection.Gradients(
            own.Adapters.ScanProjection, block.Adapters, block.Inner, work.GradScanInputs, work.GradInnerByScanInputs, backend);

        backend.CausalConv1dBackward(new CausalConv1dBackwardArgs
        {
            Forward = MambaBlock.Convolution(config, weights, block),
            GradY = work.GradInner,
            MoreGradY = work.GradInnerByScanInputs,
            GradFinalState = gradConvolution,
            GradX = MambaBlock.Inner(config, work.GradInProjected),
            GradWeight = own.Convolution,
            GradBias = own.ConvolutionBias,
            GradInitialState = gradConvolution,
        });
        backend.LinearBackward(new LinearBackwardArgs
        {
            Weight = weights.InProjection.Matrix,
            GradY = work.GradInProjected,
            GradX = work.GradNormalized,
        });
        weights.Adapters.InProjection.InputGradient(block.Adapters, work.GradInProjected, work.GradNormalized, backend);
    }

    /// <summary>
    /// Adds the gradients of the in-projection, after <see cref="Run"/>: what it reads can be made again on the way through the norm.
    /// </summary>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="gradients">The model's gradients.</param>
    /// <param name="layer">Which of them are the layer's.</param>
    /// <param name="block">The activations, <see cref="BlockOperands.Normalized"/> filled in.</param>
    /// <param name="work">Holds the gradients of activations.</param>
    /// <param name="backend">What computes.</param>
    public static void InProjectionGradients(
        LayerWeights weights, ModelGradients gradients, int layer, in BlockOperands block, TrainingWorkspace work, Backend backend)
    {
        LayerWeights own = gradients.Layers[layer];
        backend.LinearBackward(new LinearBackwardArgs
        {
            X = block.Normalized,
            GradY = work.GradInProjected,
            GradWeight = own.InProjection.Matrix,
            OverwritesGradWeight = gradients.IsFirst(own.InProjection.Matrix),
            GradBias = own.InProjectionBias,
        });
        weights.Adapters.InProjection.Gradients(
            own.Adapters.InProjection, block.Adapters, block.Normalized, work.GradInProjected, gradX: default, backend);
    }

    private static void Recompute(MambaConfig config, LayerWeights weights, in BlockOperands block, bool isStored, Backend backend)
    {
        if (!isStored)
        {
            MambaBlock.InProjection(weights, block, backend);
        }

        backend.CausalConv1dForward(MambaBlock.Convolution(config, weights, block));
        if (!isStored)
        {
            MambaBlock.ScanProjection(weights, block, backend);
        }

        MambaBlock.TimeStepProjection(config, weights, block, backend);
        if (!isStored)
        {
            backend.SelectiveScanForward(MambaBlock.Scan(config, weights, block));
        }
    }

    private static void Scan(
        MambaConfig config, LayerWeights weights, LayerWeights gradients, in BlockOperands block, TrainingWorkspace work,
        MatrixView gradState, Backend backend)
    {
        MatrixView gradA = gradients.A.IsNone ? default : work.GradA;
        backend.Clear(gradA);
        backend.SelectiveScanBackward(new SelectiveScanBackwardArgs
        {
            Forward = MambaBlock.Scan(config, weights, block),
            GradY = work.GradInner,
            GradFinalState = gradState,
            GradU = work.GradInner,
            GradDelta = work.GradDelta,
            GradA = gradA,
            GradB = MambaBlock.B(config, work.GradScanInputs),
            GradC = MambaBlock.C(config, work.GradScanInputs),
            GradD = gradients.D,
            GradZ = MambaBlock.Gate(config, work.GradInProjected),
            GradDeltaBias = gradients.TimeStepBias,
            GradInitialState = gradState,
        });
        if (!gradA.IsNone)
        {
            backend.StateMatrixBackward(new StateMatrixBackwardArgs { A = weights.A, GradA = gradA, GradLogA = gradients.A });
        }
    }
}
