using System.IO.Enumeration;

namespace MambaCuda.Training;

/// <summary>Finds the files that inputs name, in an order that does not depend on the file system.</summary>
internal static class CorpusFiles
{
    /// <summary>The name of standard input.</summary>
    public const string StandardInput = "-";

    /// <summary>
    /// The inputs in their order; in place of a folder, the files below it whose names match, sorted by their paths. Hidden files and
    /// folders are left out, and links to folders are not followed.
    /// </summary>
    /// <exception cref="CorpusException">An input is not there, or no file of a folder matches.</exception>
    public static List<string> Of(IReadOnlyList<string> inputs, CorpusOptions options)
    {
        List<string> files = [];
        foreach (string input in inputs)
        {
            if (Directory.Exists(input))
            {
                files.AddRange(Below(input, Patterns(options)));
            }
            else if (input == StandardInput || File.Exists(input))
            {
                files.Add(input);
            }
            else
            {
                throw new CorpusException(input, "there is no such file or folder");
            }
        }

        return files;
    }

    /// <summary>Whether a file holds JSON lines.</summary>
    public static bool HoldsJsonLines(string file, CorpusFormat format) => format switch
    {
        CorpusFormat.Text => false,
        CorpusFormat.JsonLines => true,
        _ => Path.GetExtension(file).ToUpperInvariant() is ".JSONL" or ".NDJSON",
    };

    private static IReadOnlyList<string> Patterns(CorpusOptions options) => options switch
    {
        { Include.Count: > 0 } => options.Include,
        { Format: CorpusFormat.Text } => ["*.txt"],
        { Format: CorpusFormat.JsonLines } => ["*.jsonl"],
        _ => ["*.txt", "*.jsonl"],
    };

    private static List<string> Below(string folder, IReadOnlyList<string> patterns)
    {
        EnumerationOptions all = new() { RecurseSubdirectories = true, IgnoreInaccessible = false };
        FileSystemEnumerable<string> found = new(folder, (ref FileSystemEntry entry) => entry.ToSpecifiedFullPath(), all)
        {
            ShouldIncludePredicate = (ref FileSystemEntry entry) => !entry.IsDirectory && Matches(entry.FileName, patterns),
            ShouldRecursePredicate = (ref FileSystemEntry entry) => !entry.Attributes.HasFlag(FileAttributes.ReparsePoint),
        };
        List<string> files = [.. found.OrderBy(path => path.Replace('\\', '/'), StringComparer.Ordinal)];
        return files.Count > 0
            ? files
            : throw new CorpusException(
                folder, $"no file in this folder matches {string.Join(" or ", patterns)}", "Name others with --include");
    }

    private static bool Matches(ReadOnlySpan<char> name, IReadOnlyList<string> patterns)
    {
        foreach (string pattern in patterns)
        {
            if (FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false))
            {
                return true;
            }
        }

        return false;
    }
}
