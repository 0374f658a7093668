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

    /// <summary>
    /// Whether linear layers of more than a few rows go to cuBLASLt where it is found; else, and where it is not, to this library's own
    /// kernel. cuBLASLt takes other kernels for other numbers of rows, so a row's last bits may depend on how many others there are; see
    /// <see cref="BatchInvariant"/>.
    /// </summary>
    public bool UseCublasLt { get; init; } = true;

    /// <summary>
    /// How linear layers are computed, where the operands and <see cref="BatchInvariant"/> allow it; meant for measurements. Layers that it
    /// cannot compute go the usual way.
    /// </summary>
    public LinearAlgorithm LinearAlgorithm { get; init; }

    /// <summary>
    /// Whether a sequence's result is the same, bit for bit, whatever else is in the batch. It always repeats from run to run; but which
    /// way of computing is fastest depends on how much there is to do, and two ways round differently. Linear layers then take one kernel,
    /// that for many rows without splits, for one row too, and cuBLASLt is not used. Costs speed, in generation most.
    /// </summary>
    public bool BatchInvariant { get; init; }

    /// <summary>
    /// Kernels compiled ahead of time, which are taken before any is compiled; null for those that <c>MAMBACUDA_CUBIN_PATH</c> names, or that
    /// lie in <c>cubins</c> beside the application.
    /// </summary>
    public CubinFolder? Cubins { get; init; }

    /// <summary>Where compiled kernels are kept; null for the user's cache.</summary>
    public KernelCache? KernelCache { get; init; }
}
