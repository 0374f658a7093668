using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>A family of kernels without its type of variant, for whoever goes through all of them.</summary>
internal interface IKernelFamily
{
    /// <summary>The file that the template stands in.</summary>
    string File { get; }

    /// <summary>"a" where the template uses instructions of one generation alone (sm_90a), else empty.</summary>
    string Suffix { get; }

    /// <summary>The oldest cards that it is launched on; those before do without.</summary>
    ComputeCapability Oldest { get; }

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
/// <param name="suffix">"a" where the template uses instructions of one generation alone (sm_90a).</param>
/// <param name="describe">A variant for people, its type of activations left out; by itself, the variant's own text.</param>
/// <param name="inSteps">
/// Whether it is one of those that run token by token, each beside the next: a multiprocessor divides its memory between shared and
/// first-level cache anew only when nothing runs on it, so they must all ask for the same.
/// </param>
/// <param name="oldest">The oldest cards that it is launched on; left out, all.</param>
internal sealed class KernelFamily<TVariant>(
    string file,
    Func<TVariant, string> expression,
    IEnumerable<TVariant> variants,
    string suffix = "",
    Func<TVariant, string>? describe = null,
    bool inSteps = false,
    ComputeCapability oldest = default) : IKernelFamily
    where TVariant : struct, IEquatable<TVariant>
{
    /// <inheritdoc/>
    public string File { get; } = file;

    /// <inheritdoc/>
    public string Suffix { get; } = suffix;

    /// <inheritdoc/>
    public ComputeCapability Oldest { get; } = oldest;

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
            kernel = library.Load(File, Expression(variant), Suffix);
            if (inSteps)
            {
                kernel.PreferredSharedCarveout = 100;
            }

            library.Name(kernel, Expression(variant), describe?.Invoke(variant) ?? variant.ToString() ?? "");
            kernels.Add(variant, kernel);
        }

        return kernel;
    }
}
