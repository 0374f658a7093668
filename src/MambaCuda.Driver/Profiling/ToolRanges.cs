using System.Text;

namespace MambaCuda.Driver;

/// <summary>
/// Named ranges of the calling thread that NVIDIA's profilers show beside the kernels (NVTX). Without a profiler that listens they cost a
/// call each; where the library is not there, they do nothing.
/// </summary>
public static unsafe class ToolRanges
{
    private const int LongestName = 256;

    private static readonly Lazy<bool> Found = new(Find);

    /// <summary>Whether the library is there: it comes with the toolkit and with profilers, and nothing else needs it.</summary>
    public static bool AreAvailable => Found.Value;

    /// <summary>Begins a range inside those that this thread has begun.</summary>
    /// <param name="name">What tools show; what is longer than 255 bytes of UTF-8 is cut.</param>
    public static void Push(ReadOnlySpan<char> name)
    {
        if (!AreAvailable)
        {
            return;
        }

        Span<byte> text = stackalloc byte[LongestName];
        Encoding.UTF8.GetEncoder().Convert(name, text[..^1], flush: true, out _, out int written, out _);
        text[written] = 0;
        fixed (byte* message = text)
        {
            _ = NvtxApi.nvtxRangePushA(message);
        }
    }

    /// <summary>Ends the range that this thread began last.</summary>
    public static void Pop()
    {
        if (AreAvailable)
        {
            _ = NvtxApi.nvtxRangePop();
        }
    }

    private static bool Find()
    {
        LibrarySearch search = new LibraryFinder().Search(CudaLibrary.ToolsExtension);
        if (!search.IsFound)
        {
            return false;
        }

        NativeImports.Bind(NativeImports.Nvtx, search.Handle);
        return NativeImports.Has(NativeImports.Nvtx, nameof(NvtxApi.nvtxRangePushA))
            && NativeImports.Has(NativeImports.Nvtx, nameof(NvtxApi.nvtxRangePop));
    }
}
