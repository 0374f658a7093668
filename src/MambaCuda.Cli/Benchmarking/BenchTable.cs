using System.Globalization;
using System.Text;

namespace MambaCuda.Cli;

/// <summary>Results as people read them: one line for each while it runs, and the tables of bench/results/README.md.</summary>
internal static class BenchTable
{
    private const string Begin = "<!-- mamba-cuda bench --render writes from here -->";
    private const string End = "<!-- to here -->";
    private const string Header = "| what | type | median ms | min | max | runs | rate | of ceiling | memory | command |\n|---|---|---|---|---|---|---|---|---|---|";

    /// <summary>A result in one line.</summary>
    public static string Line(BenchResult result) => result.Problem is { } problem
        ? $"{Title(result)} {result.Type}: {problem}"
        : Text($"{Title(result)} {result.Type}: median {result.MedianMs:g4} ms, min {result.MinMs:g4}, max {result.MaxMs:g4}, {result.Runs} runs; {Rates(result)}{Share(result, ", ")}{Memory(result, ", at most ")}");

    /// <summary>A report as a section of Markdown.</summary>
    public static string Section(string name, BenchReport report)
    {
        StringBuilder text = new();
        BenchMachine machine = report.Machine;
        text.Append(Text($"### {name}\n\n"));
        text.Append(Text($"Commit {report.Commit}, {report.Date:yyyy-MM-dd}; `{report.Command}`\n\n"));
        text.Append(machine.Device);
        foreach ((string title, string? value) in new[] { ("driver", machine.Driver), ("CUDA", machine.Cuda), ("NVRTC", machine.Nvrtc) })
        {
            text.Append(value is null ? "" : $", {title} {value}");
        }

        text.Append(Text($"; {machine.Host}, {machine.Runtime}."));
        text.Append(Ceilings(report) is { Length: > 0 } ceilings ? $" {char.ToUpperInvariant(ceilings[0])}{ceilings[1..]} in the same invocation." : "");
        text.Append("\n\n").Append(Header).Append('\n');
        foreach (BenchResult result in report.Rows)
        {
            text.Append(result.Problem is { } problem
                ? $"| {Title(result)} | {result.Type} | not measured: {problem.Replace("|", "\\|", StringComparison.Ordinal)} | | | | | | | `{Short(result)}` |\n"
                : Text($"| {Title(result)} | {result.Type} | {result.MedianMs:g4} | {result.MinMs:g4} | {result.MaxMs:g4} | {result.Runs} | {Rates(result)} | {Share(result, "")} | {Memory(result, "")} | `{Short(result)}` |\n"));
        }

        return text.ToString();
    }

    /// <summary>The ceilings of an invocation, as in "copy (read + write) 4,075 GB/s, read 4,622 GB/s"; nothing where none was measured.</summary>
    public static string Ceilings(BenchReport report) => string.Join(", ", new[]
    {
        report.CopyGigabytesPerSecond is { } copy ? Text($"copy (read + write) {copy:n0} GB/s") : "",
        report.ReadGigabytesPerSecond is { } read ? Text($"read {read:n0} GB/s") : "",
    }.Concat(report.Levels.Select(level => Text($"{level.Name} {level.TeraflopPerSecond:g3} TFLOP/s"))).Where(word => word.Length > 0));

    /// <summary>Writes the tables of all JSON files of a folder between the two marks of its README.md; what people wrote around them stays.</summary>
    public static void Render(string folder)
    {
        string page = Path.Combine(folder, "README.md");
        string text = File.ReadAllText(page);
        int begin = text.IndexOf(Begin, StringComparison.Ordinal), end = text.IndexOf(End, StringComparison.Ordinal);
        if (begin < 0 || end < begin)
        {
            throw new IOException($"{page} has no lines '{Begin}' and '{End}', between which tables are written.");
        }

        IEnumerable<string> sections = Directory.GetFiles(folder, "*.json").Order(StringComparer.Ordinal)
            .Select(path => Section(Path.GetFileNameWithoutExtension(path), BenchReport.Read(path)));
        string written = string.Join("\n", sections);
        File.WriteAllText(page, $"{text[..begin]}{Begin}\n\n{written}{(written.Length > 0 ? "\n" : "")}{text[end..]}");
    }

    /// <summary>What was measured, as in "scan 8 x 2048 x 2048".</summary>
    public static string Title(BenchResult result) => string.Join(' ', new[]
    {
        result.Operation, result.Model, result.Shape.Replace("x", " x ", StringComparison.Ordinal), result.Variant,
        result.Launches > 1 ? Text($"of {result.Launches} launches") : "",
    }.Where(word => !string.IsNullOrEmpty(word)));

    /// <summary>The command without the program's name.</summary>
    public static string Short(BenchResult result) => result.Command.Replace("mamba-cuda ", "", StringComparison.Ordinal);

    /// <summary>Tokens, elements, bytes or operations a second, whichever tells something.</summary>
    public static string Rates(BenchResult result)
    {
        List<string> rates = [];
        if (result.Model is not null && result.Elements > 0)
        {
            rates.Add(Text($"{result.Elements / result.MedianMs * 1e3:n0} tok/s"));
        }
        else if (result.Operation is "scan" or "state-update")
        {
            rates.Add(Text($"{result.GigaelementsPerSecond:f1} Gelem/s"));
        }

        if (result.Operation is "linear" or "prefill" or "score" or "attention" or "attention-backward" && result.Ceiling is null or "tensor")
        {
            rates.Add(Text($"{result.TeraflopPerSecond:f1} TFLOP/s"));
        }
        else if (result.Bytes > 0 && result.Operation is not ("prefill" or "score"))
        {
            rates.Add(Text($"{result.GigabytesPerSecond:n0} GB/s"));
        }

        return string.Join(", ", rates);
    }

    /// <summary>Percent of the ceiling, or nothing.</summary>
    public static string Share(BenchResult result, string before) =>
        result.PercentOfCeiling is { } percent ? Text($"{before}{percent:f0} % of {result.Ceiling}") : "";

    /// <summary>The peak of memory, or nothing.</summary>
    public static string Memory(BenchResult result, string before) =>
        result.PeakMemoryBytes is { } bytes ? Text($"{before}{bytes / (double)(1 << 30):f2} GiB") : "";

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
