using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

internal static unsafe partial class CudaApi
{
    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamCreateWithPriority(out nint stream, uint flags, int priority);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamDestroy_v2(nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamGetPriority(nint stream, out int priority);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamQuery(nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamSynchronize(nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuStreamWaitEvent(nint stream, nint waitedEvent, uint flags);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuEventCreate(out nint created, uint flags);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuEventDestroy_v2(nint destroyed);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuEventRecord(nint recorded, nint stream);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuEventQuery(nint queried);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuEventSynchronize(nint awaited);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuEventElapsedTime(out float milliseconds, nint start, nint end);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuModuleLoadDataEx(out nint module, void* image, uint optionCount, JitOption* options, nint* values);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuModuleUnload(nint module);

    [LibraryImport(NativeImports.Cuda, StringMarshalling = StringMarshalling.Utf8)]
    public static partial CudaError cuModuleGetFunction(out nint function, nint module, string name);

    [LibraryImport(NativeImports.Cuda, StringMarshalling = StringMarshalling.Utf8)]
    public static partial CudaError cuModuleGetGlobal_v2(out nint address, out nuint bytes, nint module, string name);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuFuncGetAttribute(out int value, FunctionAttribute attribute, nint function);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuFuncSetAttribute(nint function, FunctionAttribute attribute, int value);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuFuncGetParamInfo(nint function, nuint index, out nuint offset, out nuint bytes);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuLaunchKernelEx(
        NativeLaunchConfiguration* configuration, nint function, void** parameters, void** extra);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuOccupancyMaxActiveBlocksPerMultiprocessor(
        out int blocks, nint function, int blockSize, nuint dynamicBytes);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuOccupancyMaxPotentialBlockSize(
        out int minimumGrid, out int block, nint function, nint dynamicBytesOfBlock, nuint dynamicBytes, int blockLimit);

    [LibraryImport(NativeImports.Cuda)]
    public static partial CudaError cuOccupancyMaxActiveClusters(out int clusters, nint function, NativeLaunchConfiguration* configuration);
}
