using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>The functions of the tools extension that we call, in its own names (nvToolsExt.h).</summary>
internal static unsafe partial class NvtxApi
{
    [LibraryImport(NativeImports.Nvtx)]
    public static partial int nvtxRangePushA(byte* message);

    [LibraryImport(NativeImports.Nvtx)]
    public static partial int nvtxRangePop();
}
