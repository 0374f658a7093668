using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>Every speed that README claims is a row of bench/results, rounded to the digits that it gives.</summary>
public sealed partial class ReadmeFiguresTests
{
    private static readonly string Readme = File.ReadAllText(Path.Combine(Fixtures.RepositoryRoot, "README.md"));

    private static readonly Row[] Rows = [.. ReadRows()];

    public static TheoryData<string, string> SpeedTable
    {
        get
        {
            TheoryData<string, string> data = [];
            string? whole = null;
            string speed = Readme[Readme.IndexOf("## Speed", StringComparison.Ordinal)..];
            foreach (Match line in TableLine().Matches(speed[..speed.IndexOf("\n## ", StringComparison.Ordinal)]))
            {
                string label = line.Groups["label"].Value.Trim();
                Match variant = SameWith().Match(label);
                whole = variant.Success ? whole : label;
                data.Add(variant.Success ? $"{whole} {variant.Groups["variant"].Value}" : label, line.Groups["here"].Value.Trim());
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(SpeedTable))]
    public void A_line_of_the_table_is_what_was_measured(string label, string here)
    {
        Row[][] measured = [.. Wanted(label).Select(wanted => Rows.Where(row => row.Name == wanted).ToArray())];
        Assert.All(measured, rows => Assert.NotEmpty(rows));
        Figure[] figures = [.. Figures(here)];
        Figure[] times = [.. figures.Where(figure => figure.Unit != "GB")];
        Assert.Equal(measured.Length, times.Length);
        Assert.All(times.Zip(measured), pair => Assert.Contains(pair.Second, row => pair.First.Is(row)));
        Assert.All(figures.Where(figure => figure.Unit == "GB"), figure => Assert.Contains(measured[0], figure.Is));
    }

    [Fact]
    public void The_table_is_found()
    {
        Assert.True(SpeedTable.Count > 15, $"{SpeedTable.Count} lines are few.");
        Assert.DoesNotContain(Rows, new Figure("0.001", "ms").Is);
    }

    [Fact]
    public void Times_in_the_text_are_those_of_rows()
    {
        string text = string.Join('\n', Readme.Split('\n').Where(line => !line.StartsWith('|')));
        Assert.True(Milliseconds().Count(text) >= 3);
        Assert.All(Milliseconds().Matches(text), match => Assert.Contains(Rows, new Figure(match.Groups["number"].Value, "ms").Is));
    }

    // As (operation, model, shape, variant) of a row.
    private static IEnumerable<(string, string, string, string)> Wanted(string label)
    {
        string Shape(string text) => text.Replace(" ", "", StringComparison.Ordinal).Replace(",", "", StringComparison.Ordinal);
        Match scan = ScanLabel().Match(label), model = ModelLabel().Match(label);
        if (scan.Success)
        {
            return [(scan.Groups["gradients"].Success ? "scan-backward" : "scan", "", Shape(scan.Groups["shape"].Value), "")];
        }

        Assert.True(model.Success, $"No row is known for \"{label}\".");
        string name = model.Groups["model"].Value, rest = model.Groups["rest"].Value;
        string[] last = [.. rest.Split(", ")[^1].Replace(" tokens", "", StringComparison.Ordinal).Split(" / ")];
        return model.Groups["what"].Value switch
        {
            "prefill" => [("prefill", name, Shape(last[0]), "")],
            "first token of" => [("first-token", name, "2048", ""), ("first-token", name, "2048", "cached")],
            "forward and backward of" => [("gradients", name, Shape(last[0].Split(' ')[..3].Aggregate((a, b) => a + b)), Variant(last[0]))],
            _ when rest.Contains("after", StringComparison.Ordinal) =>
                last.Select(tokens => ("decode-after", name, "1x" + Shape(tokens.Replace("after", "", StringComparison.Ordinal)), "")),
            _ when last[0].StartsWith("int", StringComparison.Ordinal) => last.Select(variant => ("decode", name, "1", variant)),
            _ => last.Select(batch => ("decode", name, Shape(batch.Replace("batch", "", StringComparison.Ordinal)), "")),
        };

        static string Variant(string shape) => shape.Split(' ') is [_, _, _, string variant] ? variant : "";
    }

    // "a / b unit" gives both the unit.
    private static IEnumerable<Figure> Figures(string here) =>
        from part in Parts().Matches(here)
        from number in part.Groups["numbers"].Value.Split(" / ")
        select new Figure(number, part.Groups["unit"].Value);

    private static IEnumerable<Row> ReadRows()
    {
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Fixtures.RepositoryRoot, "bench", "results"), "*.json"))
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            foreach (JsonElement row in document.RootElement.GetProperty("rows").EnumerateArray())
            {
                string Text(string name) => row.TryGetProperty(name, out JsonElement value) ? value.GetString() ?? "" : "";
                double Number(string name) => row.TryGetProperty(name, out JsonElement value) ? value.GetDouble() : 0;
                yield return new Row(
                    (Text("operation"), Text("model"), Text("shape"), Text("variant")), Number("median_ms"),
                    1000 * Number("elements") / Number("median_ms"), Number("peak_memory_bytes") / 1e9);
            }
        }
    }

    [GeneratedRegex(@"^\| (?<label>[^|]+)\|[^|]*\|(?<here>[^|]*\d[^|]*)\|\r?$", RegexOptions.Multiline)]
    private static partial Regex TableLine();

    [GeneratedRegex(@"^the same with `--variant (?<variant>[\w-]+)`$")]
    private static partial Regex SameWith();

    [GeneratedRegex(@"^(?<gradients>gradients of the scan)?(selective scan)? (?<shape>\d[\d, x]*\d)( \(.*\))?$")]
    private static partial Regex ScanLabel();

    [GeneratedRegex(@"^(?<what>prefill|decode|first token of|forward and backward of) (?<model>[\d.]+[bm]), (?<rest>.+)$")]
    private static partial Regex ModelLabel();

    [GeneratedRegex(@"(?<numbers>[\d,.]+( / [\d,.]+)*) (?<unit>ms|tok/s|GB)")]
    private static partial Regex Parts();

    [GeneratedRegex(@"(?<number>\d[\d,]*(\.\d+)?) ms\b")]
    private static partial Regex Milliseconds();

    private sealed record Row((string, string, string, string) Name, double Milliseconds, double TokensPerSecond, double Gigabytes);

    /// <summary>A number as README has it; zeros at the end of one of six digits stand for what was rounded away.</summary>
    private sealed record Figure(string Text, string Unit)
    {
        public bool Is(Row row)
        {
            double value = double.Parse(Text, NumberStyles.Number, CultureInfo.InvariantCulture);
            string digits = Text.Replace(",", "", StringComparison.Ordinal);
            int decimals = digits.Contains('.', StringComparison.Ordinal) ? digits.Length - digits.IndexOf('.', StringComparison.Ordinal) - 1 : 0;
            double step = decimals == 0 && value >= 10_000 && digits.EndsWith("00", StringComparison.Ordinal) ? 100 : Math.Pow(10, -decimals);
            double measured = Unit switch { "ms" => row.Milliseconds, "GB" => row.Gigabytes, _ => row.TokensPerSecond };
            return Math.Abs(measured - value) <= 0.5001 * step;
        }
    }
}
