using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// One block (Mamba, figure 3): x, z = in_proj(normed); x = silu(conv1d(x)); delta, B, C = x_proj(x); y = scan(x, dt_proj(delta), A, B, C,
/// D) * silu(z); out_proj(y). The norm before it and the sum after it are the residual stream's, see <see cref="MambaModel"/>.
/// </summary>
internal static class MambaBlock
{
    public static void Forward(
        MambaConfig config, LayerWeights weights, ForwardWorkspace work, MatrixView convolutionState, MatrixView scanState,
        SequenceLayout sequences, Backend backend)
    {
        backend.LinearForward(new LinearForwardArgs
        {
            X = work.Normalized,
            Weight = weights.InProjection,
            Bias = weights.InProjectionBias,
            Y = work.InProjected,
        });

        CausalConv1dForwardArgs convolution = new()
        {
            X = work.InProjected.ColumnRange(0, config.IntermediateSize),
            Weight = weights.Convolution,
            Bias = weights.ConvolutionBias,
            Sequences = sequences,
            InitialState = convolutionState,
            FinalState = convolutionState,
            Silu = true,
            Y = work.Inner,
        };
        bool oneToken = sequences.MaxLength == 1;
        if (oneToken)
        {
            backend.CausalConv1dUpdate(convolution);
        }
        else
        {
            backend.CausalConv1dForward(convolution);
        }

        backend.LinearForward(new LinearForwardArgs { X = work.Inner, Weight = weights.ScanProjection, Y = work.ScanInputs });
        backend.LinearForward(new LinearForwardArgs
        {
            X = work.ScanInputs.ColumnRange(0, config.TimeStepRank),
            Weight = weights.TimeStepProjection,
            Y = work.Delta,
        });

        SelectiveScanForwardArgs scan = new()
        {
            U = work.Inner,
            Delta = work.Delta,
            A = weights.A,
            B = work.ScanInputs.ColumnRange(config.TimeStepRank, config.StateSize),
            C = work.ScanInputs.ColumnRange(config.TimeStepRank + config.StateSize, config.StateSize),
            D = weights.D,
            Z = work.InProjected.ColumnRange(config.IntermediateSize, config.IntermediateSize),
            DeltaBias = weights.TimeStepBias,
            DeltaSoftplus = true,
            Sequences = sequences,
            InitialState = scanState,
            FinalState = scanState,
            Y = work.Inner,
        };
        if (oneToken)
        {
            backend.SelectiveStateUpdate(scan);
        }
        else
        {
            backend.SelectiveScanForward(scan);
        }

        backend.LinearForward(new LinearForwardArgs
        {
            X = work.Inner,
            Weight = weights.OutProjection,
            Bias = weights.OutProjectionBias,
            Y = work.BlockOutput,
        });
    }
}
