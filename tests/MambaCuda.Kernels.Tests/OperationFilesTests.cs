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

    private const string Prepare = "Prepare";

    /// <summary>The public methods of Backend that take the operands of an operation and run it.</summary>
    public static TheoryData<string> Operations => [.. Methods.Where(name => !name.StartsWith(Prepare, StringComparison.Ordinal))];

    /// <summary>Operations that are prepared first. Only a card has them: elsewhere their parts do the same.</summary>
    public static TheoryData<string> Prepared =>
        [.. Methods.Where(name => name.StartsWith(Prepare, StringComparison.Ordinal)).Select(name => name[Prepare.Length..])];

    private static IEnumerable<string> Methods =>
        typeof(Backend).GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
            .Where(method => method.GetParameters() is [{ ParameterType: { IsByRef: true } type }]
                && type.GetElementType()!.Name.EndsWith("Args", StringComparison.Ordinal))
            .Select(method => method.Name);

    [Theory, MemberData(nameof(Operations))]
    public void An_operation_has_all_its_files(string operation) => AssertHas(operation, Places);

    [Theory, MemberData(nameof(Prepared))]
    public void A_prepared_operation_has_all_but_that_of_the_CPU(string operation) =>
        AssertHas(operation, Places.Where(place => !place.Contains("Cpu", StringComparison.Ordinal)));

    [Fact]
    public void Every_file_of_an_operation_has_its_operation()
    {
        string[] operations = [.. Operations.Concat(Prepared).Select(row => row.Data)];
        string folder = Path.Combine(Fixtures.RepositoryRoot, "src", "MambaCuda.Kernels", "Operations");
        Assert.All(
            Directory.GetFiles(folder, "*.cs"),
            path => Assert.Contains(Path.GetFileName(path).Split('.')[0], operations));
        Assert.Contains("SelectiveScanForward", operations);
    }

    private static void AssertHas(string operation, IEnumerable<string> places) => Assert.All(
        places,
        place =>
        {
            string path = string.Format(null, place, operation, SnakeCase.Of(operation));
            Assert.True(File.Exists(Path.Combine(Fixtures.RepositoryRoot, path)), $"{path} is missing.");
        });
}
