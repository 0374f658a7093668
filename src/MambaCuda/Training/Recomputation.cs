namespace MambaCuda;

/// <summary>
/// What a training pass stores for its backward pass, and what that computes again. For each layer:
/// <list type="table">
/// <listheader>
/// <term>activation</term><description><see cref="Scan"/> | <see cref="Mixer"/> | <see cref="Block"/></description>
/// </listheader>
/// <item><term>residual stream before the block, hidden * 4 bytes a token</term><description>stored | stored | stored</description></item>
/// <item><term>that before the first block: the embeddings</term><description>recomputed | recomputed | recomputed</description></item>
/// <item><term>in-projection's output</term><description>stored | stored | recomputed</description></item>
/// <item><term>low-rank delta, B and C</term><description>stored | stored | recomputed</description></item>
/// <item><term>checkpoints of the scan</term><description>stored | stored | recomputed</description></item>
/// <item><term>normalised input, convolution, delta</term><description>stored | recomputed | recomputed</description></item>
/// <item><term>result of the scan</term><description>recomputed | recomputed | recomputed</description></item>
/// <item><term>states of the scan, logits</term><description>never stored for more than a chunk of tokens, in any</description></item>
/// </list>
/// </summary>
public enum Recomputation
{
    /// <summary>The scan alone is made again: the fastest, where memory is no matter.</summary>
    Scan,

    /// <summary>What is cheap to make again is: the norm, the convolution, delta and the scan (Mamba, section 3.3.2).</summary>
    Mixer,

    /// <summary>All of a block is, from the residual stream alone: a third more arithmetic, and the least memory.</summary>
    Block,
}
