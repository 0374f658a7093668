using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>The CUDA driver's functions as they are exported, in the driver's own names and argument order (cuda.h).</summary>
internal static unsafe partial class CudaApi
{
    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuInit(uint flags);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDriverGetVersion(out int version);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGetErrorName(CudaError error, out byte* name);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuGetErrorString(CudaError error, out byte* text);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDeviceGetCount(out int count);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDeviceGet(out int device, int ordinal);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDeviceGetName(byte* name, int capacity, int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDeviceGetUuid_v2(Guid* uuid, int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDeviceGetPCIBusId(byte* text, int capacity, int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDeviceTotalMem_v2(out nuint bytes, int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDeviceGetAttribute(out int value, CudaDeviceAttribute attribute, int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDevicePrimaryCtxRetain(out nint context, int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDevicePrimaryCtxRelease_v2(int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuCtxGetCurrent(out nint context);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuCtxPushCurrent_v2(nint context);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuCtxPopCurrent_v2(out nint context);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuCtxGetDevice(out int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuCtxSynchronize();

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuCtxGetStreamPriorityRange(out int least, out int greatest);
}
