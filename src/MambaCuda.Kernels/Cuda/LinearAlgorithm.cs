namespace MambaCuda.Kernels;

/// <summary>How the CUDA backend computes a linear layer. Each repeats bit for bit; one rounds differently from another.</summary>
public enum LinearAlgorithm
{
    /// <summary>The fastest for the shape, as measured; see <see cref="CudaBackendOptions.BatchInvariant"/>.</summary>
    Auto,

    /// <summary>cuBLASLt, where it is found. Which of its kernels runs depends on the number of rows.</summary>
    CublasLt,

    /// <summary>
    /// Tensor cores, by this library's own kernels: x and weight of one 16-bit type. Without splits, a row's result does not depend on how
    /// many other rows there are.
    /// </summary>
    TensorCore,

    /// <summary>
    /// For one row, as fast as the weight can be read: x and weight of one type, or a quantized weight beside bfloat16. Where it does not fit,
    /// as <see cref="Auto"/>.
    /// </summary>
    Row,

    /// <summary>For few rows, at the speed of reading the weight: any types. A row's result does not depend on the others.</summary>
    Vector,

    /// <summary>Float32 arithmetic: any types. Without splits, a row's result does not depend on how many other rows there are.</summary>
    Simt,

    /// <summary>
    /// A quantized weight is first made as floats in the type of activations, for any number of rows; other weights as with
    /// <see cref="Auto"/>.
    /// </summary>
    Dequantized,
}
