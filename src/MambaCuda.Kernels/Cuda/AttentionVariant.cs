namespace MambaCuda.Kernels;

/// <summary>How attention is computed; see native/kernels/attention_forward.cu.</summary>
internal enum AttentionKernel
{
    Any,
    Mma,
    Wgmma,
}

/// <summary>
/// One way to compute attention or its gradients, as <see cref="CudaBackend.AttentionVariants(in AttentionForwardArgs)"/> lists them and
/// <see cref="CudaBackend.AttentionForward(in AttentionForwardArgs, AttentionVariant)"/> takes them.
/// </summary>
public readonly record struct AttentionVariant
{
    internal AttentionVariant(AttentionKernel kernel, int queries)
    {
        Kernel = kernel;
        Queries = queries;
    }

    /// <summary>Queries of a block, and keys where it walks the queries.</summary>
    public int Queries { get; }

    internal AttentionKernel Kernel { get; }

    /// <summary>As in "wgmma 128" or "a warp a query".</summary>
    public override string ToString() => Kernel switch
    {
        AttentionKernel.Wgmma => $"wgmma {Queries}",
        AttentionKernel.Mma => $"mma {Queries}",
        _ => "a warp a query",
    };
}
