using System.Reflection;
using System.Text.Json;

namespace MambaCuda.Testing;

/// <summary>
/// Golden data made outside the project. It lies in <c>../shared/fixtures</c> beside the repository, or where MAMBACUDA_FIXTURES points.
/// Cases are found by looking into the folder, so that more can be dropped in.
/// </summary>
public static class Fixtures
{
    /// <summary>The variable that names another folder.</summary>
    public const string Variable = "MAMBACUDA_FIXTURES";

    /// <summary>The folder of golden data, or null where none was named and the default one is absent.</summary>
    public static string? Root { get; } = FindRoot();

    /// <summary>The repository that these tests were built in; written into the assembly by its project file.</summary>
    public static string RepositoryRoot => typeof(Fixtures).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .First(entry => entry.Key == nameof(RepositoryRoot)).Value!;

    /// <summary>Why tests over golden data are skipped; meant for Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent).</summary>
    public static string Absent => $"No golden data: ../shared/fixtures is not there and {Variable} is not set.";

    /// <summary>
    /// The names of all cases of a kind, relative to the folder; one placeholder, <see cref="NoCase"/>, where there is no folder,
    /// so that the theory is shown as skipped instead of vanishing.
    /// </summary>
    /// <exception cref="InvalidOperationException">The folder is there but holds no such case.</exception>
    public static IReadOnlyList<string> Cases(string kind, Func<string, IEnumerable<string>> find)
    {
        if (Root is null)
        {
            return [NoCase];
        }

        string folder = Path.Combine(Root, kind);
        string[] found = Directory.Exists(folder)
            ? [.. find(folder).Select(path => Path.GetRelativePath(Root, path).Replace('\\', '/')).Order(StringComparer.Ordinal)]
            : [];
        return found.Length > 0 ? found : throw new InvalidOperationException($"{folder} holds no {kind} case.");
    }

    /// <summary>Stands for the cases of a folder that is absent.</summary>
    public const string NoCase = "(no golden data)";

    /// <summary>The scan cases: a file name and its description for each entry of scan/cases.json.</summary>
    public static IReadOnlyList<string> ScanCases() => Cases("scan", folder =>
    {
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "cases.json")));
        return [.. cases.RootElement.EnumerateArray().Select(entry => Path.Combine(folder, entry.GetProperty("file").GetString()!))];
    });

    /// <summary>
    /// The containers of every model: model/NAME/CONTAINER, for whichever of hf, hf-sharded, hf-bf16 and original there are.
    /// </summary>
    public static IReadOnlyList<string> ModelContainers() => Cases("model", folder =>
        Directory.GetDirectories(folder).SelectMany(Directory.GetDirectories)
            .Where(path => File.Exists(Path.Combine(path, "config.json"))));

    /// <summary>The tokenizers: tokenizer/NAME.</summary>
    public static IReadOnlyList<string> Tokenizers() => Cases("tokenizer", folder =>
        Directory.GetDirectories(folder).Where(path => File.Exists(Path.Combine(path, "tokenizer.json"))));

    /// <summary>The full path of a case that one of the lists above named.</summary>
    public static string PathOf(string name) => Path.Combine(Root!, name);

    private static string? FindRoot()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named)
        {
            return Directory.Exists(named) ? named : throw new DirectoryNotFoundException($"{Variable} names {named}, which is not there.");
        }

        string beside = Path.GetFullPath(Path.Combine(RepositoryRoot, "..", "shared", "fixtures"));
        return Directory.Exists(beside) ? beside : null;
    }
}
