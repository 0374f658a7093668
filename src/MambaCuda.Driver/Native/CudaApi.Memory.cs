using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

internal static unsafe partial class CudaApi
{
    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemGetInfo_v2(out nuint free, out nuint total);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemAlloc_v2(out nint address, nuint bytes);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemFree_v2(nint address);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemAllocAsync(out nint address, nuint bytes, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemAllocFromPoolAsync(out nint address, nuint bytes, nint pool, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemFreeAsync(nint address, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuDeviceGetDefaultMemPool(out nint pool, int device);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemPoolCreate(out nint pool, MemoryPoolProperties* properties);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemPoolDestroy(nint pool);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemPoolTrimTo(nint pool, nuint bytesToKeep);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemPoolGetAttribute(nint pool, MemoryPoolAttribute attribute, ulong* value);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemPoolSetAttribute(nint pool, MemoryPoolAttribute attribute, ulong* value);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemHostAlloc(out nint address, nuint bytes, uint flags);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemFreeHost(nint address);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemHostRegister_v2(nint address, nuint bytes, uint flags);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemHostUnregister(nint address);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemHostGetDevicePointer_v2(out nint device, nint host, uint flags);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemcpyHtoDAsync_v2(nint destination, void* source, nuint bytes, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemcpyDtoHAsync_v2(void* destination, nint source, nuint bytes, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemcpyDtoDAsync_v2(nint destination, nint source, nuint bytes, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemsetD8Async(nint destination, byte value, nuint count, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemsetD16Async(nint destination, ushort value, nuint count, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuMemsetD32Async(nint destination, uint value, nuint count, nint stream);
}
