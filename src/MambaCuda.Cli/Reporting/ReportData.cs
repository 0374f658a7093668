using System.Globalization;

namespace MambaCuda.Cli;

/// <summary>A row as measured, with the file that it is of.</summary>
/// <param name="Result">The row.</param>
/// <param name="Report">The invocation.</param>
/// <param name="Other">Whose program was measured, as in "pytorch flash"; null for this one.</param>
internal sealed record MeasuredRow(BenchResult Result, BenchReport Report, string? Other)
{
    // What numbers of a shape mean where this program has no such operation.
    private static readonly Dictionary<string, string> OtherShapes = new()
    {
        ["attention"] = "BATCHxHEADSxHEADSIZExLENGTH",
        ["attention-backward"] = "BATCHxHEADSxHEADSIZExLENGTH",
    };

    /// <summary>The number of a shape that has a name, as in "LENGTH"; null where it has no such.</summary>
    public long? Size(string name)
    {
        string? help = BenchOperation.Named(Result.Operation)?.ShapeHelp ?? OtherShapes.GetValueOrDefault(Result.Operation);
        string[] names = help?.Split('x') ?? [], sizes = Result.Shape.Split('x');
        int place = Array.IndexOf(names, name);
        return place >= 0 && names.Length == sizes.Length && long.TryParse(sizes[place], CultureInfo.InvariantCulture, out long size) ? size : null;
    }

    /// <summary>The channels that an operation along sequences has: heads times their size, of attention.</summary>
    public long? Channels => Size("CHANNELS") ?? (Size("HEADS") * Size("HEADSIZE"));
}

/// <summary>What a folder of results holds.</summary>
internal sealed record ReportData
{
    private const string OthersPrefix = "compare-";

    /// <summary>The files by name without ".json", in alphabetical order.</summary>
    public required IReadOnlyList<(string Name, BenchReport Report)> Files { get; init; }

    /// <summary>
    /// The rows that were measured. Those of a file compare-SUITE.json are of other programs, and their variants tell whose; what bench/compare
    /// writes.
    /// </summary>
    public IEnumerable<MeasuredRow> Rows =>
        from file in Files
        from row in file.Report.Rows
        where row.Problem is null && row.MedianMs > 0
        select file.Name.StartsWith(OthersPrefix, StringComparison.Ordinal)
            ? new MeasuredRow(row with { Variant = null }, file.Report, row.Variant ?? file.Name[OthersPrefix.Length..])
            : new MeasuredRow(row, file.Report, Other: null);

    /// <summary>Reads a folder.</summary>
    /// <exception cref="IOException">There is none, or a .json file in it is no result.</exception>
    public static ReportData Read(string folder) => new()
    {
        Files = [.. Directory.GetFiles(folder, "*.json").Order(StringComparer.Ordinal)
            .Select(path => (Path.GetFileNameWithoutExtension(path), BenchReport.Read(path)))],
    };
}
