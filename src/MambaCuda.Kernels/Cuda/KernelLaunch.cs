using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>A kernel that an operation put into the stream; see <see cref="CudaBackend.OnLaunch"/>.</summary>
/// <param name="Variant">
/// Which form of the operation it is, as in "2 lanes 64x32 aligned"; the type of activations goes without saying.
/// </param>
/// <param name="Kernel">
/// The instance of the template in C++, as in "mamba::embedding_forward&lt;float, 4&gt;"; or the function of another library.
/// </param>
/// <param name="Grid">The blocks; none of another library's, which does not tell.</param>
/// <param name="Block">The threads of a block.</param>
/// <param name="Pieces">Into how many parts the work along a sum or a sequence is cut: splits of a linear layer, chunks of a scan.</param>
public sealed record KernelLaunch(string Variant, string Kernel, Dim3 Grid, Dim3 Block, int Pieces = 1)
{
    /// <summary>The variant and its pieces, as in "mma 64x64 aligned / 2".</summary>
    public override string ToString() => Pieces == 1 ? Variant : $"{Variant} / {Pieces}";
}
