using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

[assembly: DisableRuntimeMarshalling]

namespace MambaCuda.Driver;

/// <summary>
/// Ties the names in our imports to the libraries that <see cref="LibraryFinder"/> found. The names are no file names:
/// which file is loaded is decided when it is first needed.
/// </summary>
internal static class NativeImports
{
    public const string Cuda = "cuda";
    public const string Nvrtc = "nvrtc";
    public const string CublasLt = "cublasLt";
    public const string Nvtx = "nvtx";

    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, nint> Handles = [];

    static NativeImports() => NativeLibrary.SetDllImportResolver(typeof(NativeImports).Assembly, Resolve);

    /// <summary>From now on, imports from <paramref name="name"/> go to the library with this handle.</summary>
    public static void Bind(string name, nint handle)
    {
        lock (Gate)
        {
            Handles[name] = handle;
        }
    }

    /// <summary>Whether the bound library has this function; drivers differ in what they have beyond the minimum.</summary>
    public static bool Has(string name, string function)
    {
        lock (Gate)
        {
            return Handles.TryGetValue(name, out nint handle) && NativeLibrary.TryGetExport(handle, function, out _);
        }
    }

    // Zero sends any other import on its usual way.
    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        lock (Gate)
        {
            return Handles.GetValueOrDefault(name);
        }
    }
}
