using System.Globalization;
using System.Net;
using System.Text;

namespace MambaCuda.Cli;

/// <summary>Results as one page of HTML that needs nothing else: no script, no file, no network.</summary>
internal static class ReportPage
{
    /// <summary>The page's file, beside the results.</summary>
    public const string FileName = "report.html";

    private const string StyleName = "report.css";

    /// <summary>Writes the page of a folder's results into it, and returns its path.</summary>
    public static string Write(string folder)
    {
        ReportData data = ReportData.Read(folder);
        if (data.Files.Count == 0)
        {
            throw new IOException(
                $"{folder} has no .json file of results. Measure some: mamba-cuda bench --suite ops --suite scan --out {folder}");
        }

        string path = Path.Combine(folder, FileName);
        File.WriteAllText(path, Html(data));
        return path;
    }

    /// <summary>The page.</summary>
    public static string Html(ReportData data)
    {
        ReportCharts charts = ReportCharts.Of(data);
        StringBuilder page = new();
        page.Append("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>MambaCuda, as measured</title>\n");
        page.Append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n");
        page.Append("<link rel=\"icon\" href=\"data:,\">\n<style>\n").Append(Style()).Append("</style>\n</head>\n<body>\n");
        Header(page, data, charts);
        page.Append("<main>\n");
        foreach (Chart chart in charts.Charts)
        {
            page.Append(Line($"<section id=\"{chart.Id}\">\n<h2>{Text(chart.Title)}</h2>\n<figure>\n{SvgChart.Draw(chart)}\n"));
            if (chart.Notes.Count > 0)
            {
                page.Append("<figcaption>").AppendJoin("\n", chart.Notes.Select(note => $"<p>{Text(note)}</p>")).Append("</figcaption>\n");
            }

            page.Append("</figure>\n</section>\n");
        }

        if (charts.Missing.Count > 0)
        {
            page.Append("<section id=\"missing\">\n<h2>Not measured yet</h2>\n<ul>\n");
            foreach (MissingChart missing in charts.Missing)
            {
                page.Append(Line($"<li>{Text(missing.Title)}: <code>{Text(missing.Command)}</code></li>\n"));
            }

            page.Append("</ul>\n</section>\n");
        }

        page.Append("<section id=\"numbers\">\n<h2>The numbers</h2>\n");
        foreach ((string name, BenchReport report) in data.Files)
        {
            Table(page, name, report);
        }

        page.Append("</section>\n</main>\n</body>\n</html>\n");
        return page.ToString();
    }

    private static void Header(StringBuilder page, ReportData data, ReportCharts charts)
    {
        page.Append("<header>\n<h1>MambaCuda, as measured</h1>\n<p>Medians; the tables below have the least and the greatest of the runs, ");
        page.Append("bytes and operations are those of the formula. Dashed lines are others' programs, dotted ones are computed.</p>\n<dl>\n");
        foreach (IGrouping<string, (string Name, BenchReport Report)> machine in data.Files.GroupBy(file => MachineOf(file.Report.Machine)))
        {
            page.Append(Line($"<div><dt>{Text(string.Join(", ", machine.Select(file => file.Name)))}</dt><dd>{Text(machine.Key)}; commit "));
            page.Append(Text(string.Join(", ", machine.Select(file => file.Report.Commit).Distinct())));
            string[] days = [.. machine.Select(file => file.Report.Date.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)).Distinct().Order(StringComparer.Ordinal)];
            page.Append(Line($"; {(days.Length == 1 ? days[0] : $"{days[0]} to {days[^1]}")}</dd></div>\n"));
        }

        page.Append("</dl>\n<nav>");
        page.AppendJoin(" ", charts.Charts.Select(chart => $"<a href=\"#{chart.Id}\">{Text(chart.Title)}</a>").Append("<a href=\"#numbers\">The numbers</a>"));
        page.Append("</nav>\n</header>\n");
    }

    private static void Table(StringBuilder page, string name, BenchReport report)
    {
        page.Append(Line($"<h3 id=\"table-{Text(name)}\">{Text(name)}</h3>\n<p><code>{Text(report.Command)}</code>, commit {Text(report.Commit)}, {report.Date:yyyy-MM-dd HH:mm} UTC; "));
        page.Append(Text(MachineOf(report.Machine))).Append(BenchTable.Ceilings(report) is { Length: > 0 } ceilings ? $"; {Text(ceilings)}" : "").Append(".</p>\n");
        page.Append("<div class=\"wide\"><table>\n<thead><tr><th>what</th><th>type</th><th class=\"n\">median ms</th><th class=\"n\">min</th><th class=\"n\">max</th><th class=\"n\">runs</th><th>rate</th>");
        page.Append("<th>of ceiling</th><th class=\"n\">memory</th><th>command</th></tr></thead>\n<tbody>\n");
        foreach (BenchResult row in report.Rows)
        {
            page.Append(Line($"<tr><td>{Text(BenchTable.Title(row))}</td><td>{Text(row.Type)}</td>"));
            page.Append(row.Problem is { } problem
                ? Line($"<td colspan=\"7\">not measured: {Text(problem)}</td>")
                : Line($"<td class=\"n\">{row.MedianMs:g4}</td><td class=\"n\">{row.MinMs:g4}</td><td class=\"n\">{row.MaxMs:g4}</td><td class=\"n\">{row.Runs}</td>")
                    + $"<td>{Text(BenchTable.Rates(row))}</td><td>{Text(BenchTable.Share(row, ""))}</td><td class=\"n\">{Text(BenchTable.Memory(row, ""))}</td>");
            page.Append(Line($"<td><code>{Text(BenchTable.Short(row))}</code></td></tr>\n"));
        }

        page.Append("</tbody>\n</table></div>\n");
    }

    private static string MachineOf(BenchMachine machine) => string.Join(", ", new[]
    {
        machine.Device,
        machine.Driver is null ? null : $"driver {machine.Driver}",
        machine.Cuda is null ? null : $"CUDA {machine.Cuda}",
        machine.Nvrtc is null ? null : $"NVRTC {machine.Nvrtc}",
        machine.Host,
        machine.Runtime,
    }.Where(part => part is not null));

    private static string Style()
    {
        using Stream stream = typeof(ReportPage).Assembly.GetManifestResourceStream(StyleName)!;
        using StreamReader reader = new(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
