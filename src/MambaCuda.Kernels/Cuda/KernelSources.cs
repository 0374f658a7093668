using System.Reflection;
using System.Text;

namespace MambaCuda.Kernels;

/// <summary>The device code that travels inside this assembly: kernels by file name, headers by the name that stands in an #include.</summary>
internal static class KernelSources
{
    private const string KernelRoot = "native/kernels/";
    private const string HeaderRoot = "native/include/";

    private static readonly Assembly Assembly = typeof(KernelSources).Assembly;

    /// <summary>The names of all kernel files, as in "selective_scan_forward.cu".</summary>
    public static IReadOnlyList<string> Kernels { get; } = Names(KernelRoot);

    /// <summary>The text of every header.</summary>
    public static IReadOnlyDictionary<string, string> Headers { get; } = Names(HeaderRoot).ToDictionary(name => name, name => Text(HeaderRoot + name));

    /// <summary>The text of a kernel file.</summary>
    public static string Kernel(string name) => Text(KernelRoot + name);

    private static string[] Names(string root) =>
        [.. Assembly.GetManifestResourceNames().Where(name => name.StartsWith(root, StringComparison.Ordinal)).Select(name => name[root.Length..]).Order()];

    private static string Text(string name)
    {
        using Stream stream = Assembly.GetManifestResourceStream(name)
            ?? throw new ArgumentException($"The assembly carries no {name}.", nameof(name));
        using StreamReader reader = new(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
