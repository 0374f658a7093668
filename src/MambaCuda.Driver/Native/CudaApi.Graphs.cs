using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

internal static unsafe partial class CudaApi
{
    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamBeginCapture_v2(nint stream, CaptureMode mode);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamEndCapture(nint stream, out nint graph);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamIsCapturing(nint stream, out int status);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGraphDestroy(nint graph);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGraphGetNodes(nint graph, nint* nodes, ref nuint count);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGraphInstantiateWithFlags(out nint executable, nint graph, ulong flags);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGraphExecUpdate_v2(nint executable, nint graph, GraphUpdateResult* result);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGraphUpload(nint executable, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGraphLaunch(nint executable, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGraphExecDestroy(nint executable);
}
