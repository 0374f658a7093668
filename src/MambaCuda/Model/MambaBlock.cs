using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// One block (Mamba, figure 3): x, z = in_proj(normed); x = silu(conv1d(x)); delta, B, C = x_proj(x); y = scan(x, dt_proj(delta), A, B, C,
/// D) * silu(z); out_proj(y). The norm before it and the sum after it are the residual stream's, see <see cref="MambaModel"/>.
/// </summary>
internal static class MambaBlock
{
    public static void Forward(MambaConfig config, LayerWeights weights, in BlockOperands block, Backend backend) =>
        ForwardInParts(config, weights, block, new ReadOnlySpan<BlockOperands>(in block), backend);

    /// <summary>Tokens in parts, each of which may go on from the states that the part before it leaves.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="weights">The layer's weights, which are read once for all parts.</param>
    /// <param name="block">What the block reads and writes; its sequences and states are not looked at.</param>
    /// <param name="parts">The same, cut into rows with sequences and states of their own: <see cref="BlockOperands.Part"/>.</param>
    /// <param name="backend">What computes.</param>
    public static void ForwardInParts(
        MambaConfig config, LayerWeights weights, in BlockOperands block, ReadOnlySpan<BlockOperands> parts, Backend backend)
    {
        InProjection(weights, block, backend);
        foreach (ref readonly BlockOperands part in parts)
        {
            backend.CausalConv1dForward(Convolution(config, weights, part));
        }

        ScanProjection(weights, block, backend);
        TimeStepProjection(config, weights, block, backend);
        foreach (ref readonly BlockOperands part in parts)
        {
            backend.SelectiveScanForward(Scan(config, weights, part));
        }

        OutProjection(weights, block, backend);
    }

    /// <summary>
    /// One token of each sequence, the sum and the norm before the block included. Without adapters, which need the operations apart.
    /// </summary>
    /// <param name="config">The sizes.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="block">What the block reads and writes; states are given.</param>
    /// <param name="norm">The residual stream, and what is added to it; y is the block's.</param>
    /// <param name="backend">What computes.</param>
    public static void Step(
        MambaConfig config, LayerWeights weights, in BlockOperands block, in AddRmsNormLinearArgs norm, Backend backend)
    {
        backend.AddRmsNormLinear(norm with
        {
            NormWeight = weights.Norm,
            Epsilon = config.NormEpsilon,
            Weight = weights.InProjection,
            Bias = weights.InProjectionBias,
            NormWork = block.Normalized,
            Y = block.InProjected,
        });
        backend.MixerStep(new MixerStepArgs
        {
            Sequences = block.Sequences,
            X = Inner(config, block.InProjected),
            Z = Gate(config, block.InProjected),
            ConvolutionWeight = weights.Convolution,
            ConvolutionBias = weights.ConvolutionBias,
            ConvolutionBefore = block.ConvolutionBefore,
            ConvolutionAfter = block.ConvolutionAfter,
            ScanProjection = weights.ScanProjection,
            TimeStepProjection = weights.TimeStepProjection,
            TimeStepBias = weights.TimeStepBias,
            A = weights.A,
            D = weights.D,
            ScanBefore = block.ScanBefore,
            ScanAfter = block.ScanAfter,
            InnerWork = block.Inner,
            ScanInputsWork = block.ScanInputs,
            DeltaWork = block.Delta,
            Y = block.Gated,
        });
        OutProjection(weights, block, backend);
    }

    private static void OutProjection(LayerWeights weights, in BlockOperands block, Backend backend)
    {
        backend.LinearForward(new LinearForwardArgs
        {
            X = block.Gated,
            Weight = weights.OutProjection,
            Bias = weights.OutProjectionBias,
            Y = block.BlockOutput,
            WeightIsAtRest = true,
        });
        weights.Adapters.OutProjection.Forward(block.Adapters, block.Gated, block.BlockOutput, backend);
    }

    public static void InProjection(LayerWeights weights, in BlockOperands block, Backend backend)
    {
        backend.LinearForward(new LinearForwardArgs
        {
            X = block.Normalized,
            Weight = weights.InProjection,
            Bias = weights.InProjectionBias,
            Y = block.InProjected,
            WeightIsAtRest = true,
        });
        weights.Adapters.InProjection.Forward(block.Adapters, block.Normalized, block.InProjected, backend);
    }

    public static void ScanProjection(LayerWeights weights, in BlockOperands block, Backend backend)
    {
        backend.LinearForward(new LinearForwardArgs
        {
            X = block.Inner,
            Weight = weights.ScanProjection,
            Y = block.ScanInputs,
            WeightIsAtRest = true,
        });
        weights.Adapters.ScanProjection.Forward(block.Adapters, block.Inner, block.ScanInputs, backend);
    }

    public static void TimeStepProjection(MambaConfig config, LayerWeights weights, in BlockOperands block, Backend backend)
    {
        MatrixView lowRankDelta = LowRankDelta(config, block.ScanInputs);
        backend.LinearForward(new LinearForwardArgs
        {
            X = lowRankDelta,
            Weight = weights.TimeStepProjection,
            Y = block.Delta,
            WeightIsAtRest = true,
        });
        weights.Adapters.TimeStepProjection.Forward(block.Adapters, lowRankDelta, block.Delta, backend);
    }

    public static CausalConv1dForwardArgs Convolution(MambaConfig config, LayerWeights weights, in BlockOperands block) => new()
    {
        X = Inner(config, block.InProjected),
        Weight = weights.Convolution,
        Bias = weights.ConvolutionBias,
        Sequences = block.Sequences,
        InitialState = block.ConvolutionBefore,
        FinalState = block.ConvolutionAfter,
        Silu = true,
        Y = block.Inner,
    };

    public static SelectiveScanForwardArgs Scan(MambaConfig config, LayerWeights weights, in BlockOperands block) => new()
    {
        U = block.Inner,
        Delta = block.Delta,
        A = weights.A,
        B = B(config, block.ScanInputs),
        C = C(config, block.ScanInputs),
        D = weights.D,
        Z = Gate(config, block.InProjected),
        DeltaBias = weights.TimeStepBias,
        DeltaSoftplus = true,
        Sequences = block.Sequences,
        InitialState = block.ScanBefore,
        FinalState = block.ScanAfter,
        Checkpoints = block.Checkpoints,
        Y = block.Gated,
    };

    /// <summary>The columns of the in-projection that go through the convolution.</summary>
    public static MatrixView Inner(MambaConfig config, MatrixView inProjected) => inProjected.ColumnRange(0, config.IntermediateSize);

    /// <summary>The columns of the in-projection that gate the scan's result.</summary>
    public static MatrixView Gate(MambaConfig config, MatrixView inProjected) =>
        inProjected.ColumnRange(config.IntermediateSize, config.IntermediateSize);

    public static MatrixView LowRankDelta(MambaConfig config, MatrixView scanInputs) => scanInputs.ColumnRange(0, config.TimeStepRank);

    public static MatrixView B(MambaConfig config, MatrixView scanInputs) =>
        scanInputs.ColumnRange(config.TimeStepRank, config.StateSize);

    public static MatrixView C(MambaConfig config, MatrixView scanInputs) =>
        scanInputs.ColumnRange(config.TimeStepRank + config.StateSize, config.StateSize);

    /// <summary>What a step through the whole model reads and writes of a layer.</summary>
    public static DecodeStepLayer WholeStep(LayerWeights weights, int layer, LayerStates before, LayerStates after) => new()
    {
        NormWeight = weights.Norm,
        InProjection = weights.InProjection,
        ConvolutionWeight = weights.Convolution,
        ConvolutionBias = weights.ConvolutionBias,
        ScanProjection = weights.ScanProjection,
        TimeStepProjection = weights.TimeStepProjection,
        TimeStepBias = weights.TimeStepBias,
        A = weights.A,
        D = weights.D,
        OutProjection = weights.OutProjection,
        ConvolutionBefore = before.Convolution(layer),
        ConvolutionAfter = after.Convolution(layer),
        ScanBefore = before.Scan(layer),
        ScanAfter = after.Scan(layer),
    };
}
