using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>A family of kernels without its type of variant, for whoever goes through all of them.</summary>
internal interface IKernelFamily
{
    /// <summary>The file that the template stands in.</summary>
    string File { get; }

    /// <summary>The C++ names of all instances that can be asked for.</summary>
    IEnumerable<string> Expressions { get; }
}

/// <summary>
/// The instances of one kernel template: which there are is said by a variant, usually a record struct of types and sizes.
/// Asking for an instance again finds it without an allocation.
/// </summary>
/// <param name="file">The file that the template stands in.</param>
/// <param name="expression">The C++ name of the instance for a variant.</param>
/// <param name="variants">All variants that launches can ask for; tests compile each.</param>
internal sealed class KernelFamily<TVariant>(string file, Func<TVariant, string> expression, IEnumerable<TVariant> variants) : IKernelFamily
    where TVariant : struct, IEquatable<TVariant>
{
    /// <inheritdoc/>
    public string File { get; } = file;

    /// <summary>All variants that launches can ask for.</summary>
    public IReadOnlyList<TVariant> Variants { get; } = [.. variants];

    /// <inheritdoc/>
    public IEnumerable<string> Expressions => Variants.Select(Expression);

    /// <summary>The C++ name of the instance for a variant.</summary>
    public string Expression(TVariant variant) => expression(variant);

    /// <summary>The instance for a variant, compiled at first use.</summary>
    public CudaKernel Get(KernelLibrary library, TVariant variant)
    {
        Dictionary<TVariant, CudaKernel> kernels = library.KernelsOf(this);
        if (!kernels.TryGetValue(variant, out CudaKernel? kernel))
        {
            kernel = library.Load(File, Expression(variant));
            kernels.Add(variant, kernel);
        }

        return kernel;
    }
}
