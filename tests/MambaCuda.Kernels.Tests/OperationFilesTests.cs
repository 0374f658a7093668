using System.Reflection;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>An operation is found by its name everywhere.</summary>
public class OperationFilesTests
{
    /// <summary>Where the parts of an operation lie, {0} being its name and {1} its name as native/ writes it.</summary>
    private static readonly string[] Places =
    [
        "src/MambaCuda.Kernels/Operations/{0}.cs",
        "src/MambaCuda.Kernels/Operations/{0}.Cpu.cs",
        "src/MambaCuda.Kernels/Operations/{0}.Cuda.cs",
        "native/kernels/{1}.cu",
        "tests/MambaCuda.Kernels.Tests/{0}Tests.cs",
    ];

    /// <summary>The public methods of Backend that take the operands of an operation.</summary>
    public static TheoryData<string> Operations =>
    [
        .. typeof(Backend).GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
            .Where(method => method.GetParameters() is [{ ParameterType: { IsByRef: true } type }]
                && type.GetElementType()!.Name.EndsWith("Args", StringComparison.Ordinal))
            .Select(method => method.Name),
    ];

    [Theory, MemberData(nameof(Operations))]
    public void An_operation_has_all_its_files(string operation) => Assert.All(
        Places,
        place =>
        {
            string path = string.Format(null, place, operation, SnakeCase.Of(operation));
            Assert.True(File.Exists(Path.Combine(Fixtures.RepositoryRoot, path)), $"{path} is missing.");
        });

    [Fact]
    public void Every_file_of_an_operation_has_its_operation()
    {
        string[] operations = [.. Operations.Select(row => row.Data)];
        string folder = Path.Combine(Fixtures.RepositoryRoot, "src", "MambaCuda.Kernels", "Operations");
        Assert.All(
            Directory.GetFiles(folder, "*.cs"),
            path => Assert.Contains(Path.GetFileName(path).Split('.')[0], operations));
        Assert.Contains("SelectiveScanForward", operations);
    }
}
