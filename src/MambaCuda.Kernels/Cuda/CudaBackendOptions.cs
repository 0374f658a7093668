using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>What can be chosen of a <see cref="CudaBackend"/>.</summary>
public sealed record CudaBackendOptions
{
    /// <summary>The number of the device, as CUDA_VISIBLE_DEVICES lets it be seen.</summary>
    public int Device { get; init; }

    /// <summary>
    /// The type of activations, and of the weights that meet them: BFloat16, Float16 or Float32. Null for BFloat16, or Float16 on a card
    /// without BFloat16 arithmetic (before compute capability 8.0).
    /// </summary>
    public DataType? ActivationType { get; init; }

    /// <summary>Whether large linear layers go to cuBLASLt where it is found; else, and where it is not, to this library's own kernel.</summary>
    public bool UseCublasLt { get; init; } = true;

    /// <summary>
    /// Whether a sequence's result is the same, bit for bit, whatever else is in the batch. It always repeats from run to run; but which
    /// way of computing is fastest depends on how much there is to do, and two ways round differently. Costs speed.
    /// </summary>
    public bool BatchInvariant { get; init; }

    /// <summary>Where compiled kernels are kept; null for the user's cache.</summary>
    public KernelCache? KernelCache { get; init; }
}
