using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>NVRTC's functions as they are exported, in its own names and argument order (nvrtc.h).</summary>
internal static unsafe partial class NvrtcApi
{
    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcVersion(out int major, out int minor);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial byte* nvrtcGetErrorString(int result);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetNumSupportedArchs(out int count);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetSupportedArchs(int* architectures);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcCreateProgram(
        out nint program, byte* source, byte* name, int headerCount, byte** headers, byte** includeNames);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcDestroyProgram(ref nint program);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcAddNameExpression(nint program, byte* expression);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetLoweredName(nint program, byte* expression, out byte* loweredName);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcCompileProgram(nint program, int optionCount, byte** options);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetProgramLogSize(nint program, out nuint size);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetProgramLog(nint program, byte* log);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetCUBINSize(nint program, out nuint size);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetCUBIN(nint program, byte* cubin);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetPTXSize(nint program, out nuint size);

    [LibraryImport(NativeImports.Nvrtc)]
    public static partial int nvrtcGetPTX(nint program, byte* ptx);
}
