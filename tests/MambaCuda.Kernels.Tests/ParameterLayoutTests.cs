using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>
/// The structs that kernels take, in C# and in CUDA C: the same sizes, fields and offsets, as a C++ compiler lays out the kernel files
/// themselves. A field is called the same in both, in each language's spelling.
/// </summary>
public class ParameterLayoutTests
{
    /// <summary>Structs that others contain or that lie in memory, by their C++ names.</summary>
    private static readonly (Type Type, string Name)[] Shared =
        [(typeof(SequenceTable), "SequenceTable"), (typeof(FaultRecord), "Fault"), (typeof(WeightMatrix), "WeightMatrix")];

    private static Type[] Parameters =>
        [.. typeof(CudaBackend).GetNestedTypes(BindingFlags.NonPublic).Where(type => type.IsValueType && type.Name.EndsWith("Params", StringComparison.Ordinal))];

    [Fact]
    public void Every_kernel_s_parameters_are_laid_out_alike()
    {
        StringBuilder source = new("#include \"cuda_language.h\"\n");
        foreach (string header in KernelSources.Headers.Keys)
        {
            source.Append(CultureInfo.InvariantCulture, $"#include \"{header}\"\n");
        }

        foreach ((Type type, string name) in Shared)
        {
            AppendChecks(source, type, name);
        }

        using TemporaryFolder folder = new();
        StringBuilder complaints = new();
        foreach (string kernel in KernelSources.Kernels)
        {
            // Each file by itself, since two may have constants of one name.
            Type[] types = [.. Parameters.Where(type => Defines(kernel, type))];
            Assert.True(types.Length > 0, $"No parameters of {kernel} are known in C#.");
            StringBuilder checks = new(source.ToString());
            checks.Append(CultureInfo.InvariantCulture, $"#include \"kernels/{kernel}\"\n");
            foreach (Type type in types)
            {
                AppendChecks(checks, type, type.Name);
            }

            complaints.Append(Compile(folder.Write(kernel + ".cpp", checks.ToString())));
        }

        Assert.Equal("", complaints.ToString());
        Assert.All(Parameters, type => Assert.Contains(KernelSources.Kernels, kernel => Defines(kernel, type)));
    }

    /// <summary>Whether a file of kernels has a struct, itself or in a header that it names.</summary>
    private static bool Defines(string kernel, Type type)
    {
        string text = KernelSources.Kernel(kernel), definition = $"struct {type.Name} {{";
        return text.Contains(definition, StringComparison.Ordinal)
            || KernelSources.Headers.Any(header => text.Contains($"\"{header.Key}\"", StringComparison.Ordinal)
                && header.Value.Contains(definition, StringComparison.Ordinal));
    }

    private static void AppendChecks(StringBuilder source, Type type, string name)
    {
        FieldInfo[] fields = type.GetFields(BindingFlags.Public | BindingFlags.Instance);
        source.Append(CultureInfo.InvariantCulture, $"static_assert(sizeof(mamba::{name}) == {Marshal.SizeOf(type)}, \"size of {name}\");\n");
        foreach (FieldInfo field in fields)
        {
            string member = SnakeCase.Of(field.Name);
            source.Append(CultureInfo.InvariantCulture, $"static_assert(__builtin_offsetof(mamba::{name}, {member}) == {Marshal.OffsetOf(type, field.Name)}, \"offset of {name}.{member}\");\n");
            source.Append(CultureInfo.InvariantCulture, $"static_assert(sizeof(mamba::{name}::{member}) == {Marshal.SizeOf(field.FieldType)}, \"size of {name}.{member}\");\n");
        }
    }

    private static string Compile(string path)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The host's CUDA language is for Linux.");
        string native = Path.Combine(Fixtures.RepositoryRoot, "native");
        string[] arguments = ["-std=c++17", "-fsyntax-only", "-w", $"-I{native}", $"-I{native}/include", $"-I{native}/host", path];
        try
        {
            using Process compiler = Process.Start(new ProcessStartInfo("g++", arguments) { RedirectStandardError = true })!;
            string complaints = compiler.StandardError.ReadToEnd();
            compiler.WaitForExit();
            Assert.True(compiler.ExitCode == 0 || complaints.Length > 0, $"g++ ended with {compiler.ExitCode} and said nothing.");
            return complaints;
        }
        catch (Win32Exception)
        {
            Assert.Skip("There is no C++ compiler (g++).");
            return "";
        }
    }
}
