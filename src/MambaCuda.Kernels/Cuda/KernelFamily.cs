using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>
/// The instances of one kernel template: which there are is said by a variant, usually a record struct of types and sizes.
/// Asking for an instance again finds it without an allocation.
/// </summary>
/// <param name="file">The file that the template stands in.</param>
/// <param name="expression">The C++ name of the instance for a variant.</param>
internal sealed class KernelFamily<TVariant>(string file, Func<TVariant, string> expression) where TVariant : struct, IEquatable<TVariant>
{
    private readonly Dictionary<TVariant, CudaKernel> _kernels = [];

    /// <summary>The file that the template stands in.</summary>
    public string File { get; } = file;

    /// <summary>The C++ name of the instance for a variant.</summary>
    public string Expression(TVariant variant) => expression(variant);

    /// <summary>The instance for a variant, compiled at first use.</summary>
    public CudaKernel Get(KernelLibrary library, TVariant variant)
    {
        if (!_kernels.TryGetValue(variant, out CudaKernel? kernel))
        {
            kernel = library.Load(File, Expression(variant));
            _kernels.Add(variant, kernel);
        }

        return kernel;
    }
}
