using System.Text.RegularExpressions;
using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda bench --report: what it draws of which results, what it says of those that are not there, and how a browser shows it.</summary>
public sealed partial class ReportPageTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public async Task The_page_of_the_repository_needs_nothing_else_and_says_what_is_missing()
    {
        string results = Path.Combine(Fixtures.RepositoryRoot, "bench", "results");
        foreach (string file in Directory.GetFiles(results, "*.json"))
        {
            File.Copy(file, _folder.File(Path.GetFileName(file)));
        }

        (int code, string output, string error) = await Run(_folder.Path);
        Assert.Equal((ExitCode.Done, _folder.File("report.html"), ""), (code, output.Trim(), error));
        string html = await File.ReadAllTextAsync(_folder.File("report.html"), TestContext.Current.CancellationToken);
        Assert.DoesNotContain("<script", html, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("@import", html, StringComparison.Ordinal);
        Assert.All(Links().Matches(html), link => Assert.True(link.Value.EndsWith('#') || link.Value.EndsWith("data:,", StringComparison.Ordinal), link.Value));
        ReportData data = ReportData.Read(_folder.Path);
        ReportCharts charts = ReportCharts.Of(data);
        Assert.NotEmpty(charts.Charts);
        Assert.All(charts.Charts, chart => Assert.Contains($"<section id=\"{chart.Id}\">", html, StringComparison.Ordinal));
        Assert.All(charts.Missing, missing => Assert.Contains($"<code>{missing.Command}</code>", html, StringComparison.Ordinal));
        Assert.Equal(data.Files.Sum(file => file.Report.Rows.Count), html.Split("<tr><td>").Length - 1);
        Assert.Equal(html, ReportPage.Html(data));
    }

    [Fact]
    public async Task A_folder_without_results_is_told_how_to_make_some()
    {
        (int code, _, string error) = await Run(_folder.Path);
        Assert.Equal(ExitCode.BadFile, code);
        Assert.Contains("Measure some: mamba-cuda bench --suite", error, StringComparison.Ordinal);
        (code, _, error) = await Run($"{_folder.Path} --suite ops");
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("one of them", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_that_is_not_measured_is_drawn()
    {
        BenchResult one = Row("conv1d", "1x1024x512", 1) with { Bytes = 0 };
        ReportCharts charts = ReportCharts.Of(Data([one, one with { Shape = "1x1024x1024" }, Row("scan", "1x1024x512", 0), Row("scan", "1x8x9", 1) with { Problem = "no" }]));
        Assert.Empty(charts.Charts);
        Assert.Equal(6, charts.Missing.Count);
        Assert.All(charts.Missing, missing => Assert.StartsWith("mamba-cuda bench --suite ", missing.Command, StringComparison.Ordinal));
        Assert.DoesNotContain("<svg", ReportPage.Html(Data([one])), StringComparison.Ordinal);
    }

    [Fact]
    public void Lengths_are_a_chart_for_each_size_and_tell_where_they_cross()
    {
        Chart[] charts = [.. ReportCharts.Of(Everything()).Charts.Where(chart => chart.Id.StartsWith("time-against-length", StringComparison.Ordinal))];
        Assert.Equal(["Time against length, batch 1, 1,024 channels", "Time against length, batch 8, 1,024 channels"], charts.Select(chart => chart.Title));
        Assert.Equal(["scan", "conv1d", "attention, theirs <&>"], charts[0].Series.Select(series => series.Name));
        Assert.Equal([SeriesStyle.Line, SeriesStyle.Line, SeriesStyle.Dashed], charts[0].Series.Select(series => series.Style));
        Assert.Equal([512.0, 1024, 2048, 4096], charts[0].Series[0].Points.Select(point => point.X));

        // The scan takes length / 512 ms and theirs (length / 1024)^2: equal at 2048.
        Assert.Equal(
            "From about 2,000 tokens on the scan is faster than attention, theirs <&>; at 4,096 that takes 2 times as long.", Assert.Single(charts[0].Notes));
        Assert.Empty(charts[1].Notes);
    }

    [Fact]
    public void Devices_and_types_are_never_mixed()
    {
        BenchResult[] rows = [.. new[] { 512, 1024, 2048 }.Select(length => Row("scan", $"1x8x{length}", length))];
        ReportData one = Data([.. rows, .. rows.Select(row => row with { Type = "fp16" })]), other = Data(rows);
        ReportData both = new()
        {
            Files = [("a", one.Files[0].Report), ("b", other.Files[0].Report with { Machine = new BenchMachine { Device = "other", Host = "", Runtime = "" } })],
        };
        Chart[] charts = [.. ReportCharts.Of(both).Charts];
        Assert.Equal(
            [
                "Time against length, batch 1, 8 channels, a card & more", "Time against length, batch 1, 8 channels, other",
                "Roofline of every operation, a card & more", "Roofline of every operation, other",
            ],
            charts.Select(chart => chart.Title));
        Assert.Equal(["scan bf16", "scan fp16"], charts[0].Series.Select(series => series.Name));
        Assert.Equal(["scan"], charts[1].Series.Select(series => series.Name));
        Assert.Equal(charts.Length, charts.Select(chart => chart.Id).Distinct().Count());

        // A card's charts come first, and what is missing is the card's.
        BenchMachine card = new() { Device = "card", Host = "", Runtime = "", Cuda = "13.0" };
        ReportCharts withCard = ReportCharts.Of(both with { Files = [.. both.Files, ("c", one.Files[0].Report with { Machine = card, Rows = rows[..1] })] });
        Assert.Equal("Roofline of every operation, card", withCard.Charts[2].Title);
        Assert.Contains(withCard.Missing, missing => missing.Title == "Time against length");
    }

    [Fact]
    public void A_Transformer_is_bound_by_its_weights_and_its_cache()
    {
        Chart chart = ReportCharts.Of(Everything()).Charts.Single(chart => chart.Title == "Decode against batch, 1.4b");
        Assert.Equal(["MambaCuda", "theirs <&>", "bound of a Transformer"], chart.Series.Select(series => series.Name));
        Assert.Equal([10.0, 80, 320], chart.Series[0].Points.Select(point => point.Y));
        long parameters = ModelSizes.Config("1.4b").Tensors().Sum(tensor => tensor.ElementCount);
        Assert.All(chart.Series[2].Points, point =>
        {
            double bytes = (2.0 * parameters) + (point.X * 2048 * 24 * 2 * 2048 * 2);
            Assert.Equal(point.X * 2e12 / bytes, point.Y, 1e-6 * point.Y);
        });
        Assert.Contains("24 layers of width 2,048", Assert.Single(chart.Notes), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(512, 524_288, true, "512,2 K,8 K,32 K,128 K,512 K"), InlineData(1, 64, true, "1,2,4,8,16,32,64"), InlineData(3, 3, true, "2,4")]
    [InlineData(0.02, 300, false, "0.1,1,10,100"), InlineData(1, 60_000, false, "1,10,100,1,000,10 K"), InlineData(2, 40, false, "2,5,10,20")]
    public void Axes_have_round_numbers(double least, double most, bool inPowersOfTwo, string expected)
    {
        LogScale scale = new([least, most], inPowersOfTwo);
        Assert.Equal(expected, string.Join(',', scale.Ticks.Select(tick => LogScale.Label(tick, inPowersOfTwo))));
        Assert.All(scale.Ticks, tick => Assert.InRange(scale.Place(tick), 0, 1));
        Assert.True(scale.Place(least) > 0 && scale.Place(most) < 1);
        Assert.Equal(0, scale.Place(scale.Low), 1e-9);
        Assert.Equal(1, scale.Place(scale.High), 1e-9);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_browser_shows_every_chart(bool dark)
    {
        Assert.SkipWhen(Chromium.Program is null, "There is no chromium on PATH; .ci/install-chromium installs it.");
        ReportData data = Everything();
        (IReadOnlyList<string> charts, IReadOnlyList<string> problems) = await Chromium.Inspect(ReportPage.Html(data), _folder, dark);
        Assert.Empty(problems);
        Assert.Equal(ReportCharts.Of(data).Charts.Select(chart => chart.Title), charts);
        Assert.Equal(9, charts.Count);
    }

    [Fact]
    public async Task A_browser_finds_what_is_wrong()
    {
        Assert.SkipWhen(Chromium.Program is null, "There is no chromium on PATH; .ci/install-chromium installs it.");
        string html = ReportPage.Html(Everything());
        html = html.Replace(">512<", $">{new string('8', 60)}<", StringComparison.Ordinal)
            .Replace("</header>", "</header><script>missing();</script><img src=\"none.png\">", StringComparison.Ordinal)
            .Replace(".grid { stroke", ".mark { display: none } svg .grid { stroke", StringComparison.Ordinal);
        (_, IReadOnlyList<string> problems) = await Chromium.Inspect(html, _folder, dark: false);
        foreach (string expected in new[] { "missing is not defined", "lie over one another", "a mark that nobody sees", "is cut off" })
        {
            Assert.Contains(problems, problem => problem.Contains(expected, StringComparison.Ordinal));
        }
    }

    public void Dispose() => _folder.Dispose();

    /// <summary>Results of which every chart can be drawn.</summary>
    private static ReportData Everything()
    {
        int[] lengths = [512, 1024, 2048, 4096];
        List<BenchResult> rows = [];
        foreach (int length in lengths)
        {
            rows.Add(Row("scan", $"1x1024x{length}", length / 512.0));
            rows.Add(Row("scan", $"8x1024x{length}", length / 64.0));
            rows.Add(Row("conv1d", $"1x1024x{length}", length / 4096.0));
            rows.Add(Row("scan-backward", $"1x1024x{length}", length / 128.0));
            rows.Add(Row("gradients", $"1x{length}", length) with { Model = "130m", Elements = length, PeakMemoryBytes = length * 1_000_000L, Variant = "recompute-blocks" });
            rows.Add(Row("prefill", $"1x{length}", length / 8.0) with { Model = "130m", Elements = length, PeakMemoryBytes = 1 << 30 });
        }

        rows.Add(Row("linear", "64x64x64", 0.01) with { Operations = 1e12, Bytes = 1_000_000_000 });
        List<BenchResult> theirs = [.. lengths.Select(length => Row("attention", $"1x16x64x{length}", Math.Pow(length / 1024.0, 2)) with { Variant = "theirs <&>" })];
        foreach (string model in new[] { "130m", "1.4b", "2.8b" })
        {
            foreach ((int batch, double rate) in new[] { (1, 10.0), (8, 80), (64, 320) })
            {
                rows.Add(Row("decode", $"{batch}", batch * 1e3 / rate) with { Model = model, Elements = batch });
                theirs.Add(Row("decode", $"{batch}", batch * 2e3 / rate) with { Model = model, Elements = batch, Variant = "theirs <&>" });
            }
        }

        ReportData data = Data(rows);
        BenchReport report = data.Files[0].Report with
        {
            ReadGigabytesPerSecond = 2000,
            CopyGigabytesPerSecond = 1900,
            MatrixTeraflopPerSecond = 700,
            MultiplyAddTeraflopPerSecond = 50,
            SpecialGigaoperationsPerSecond = 4000,
        };
        BenchReport compared = data.Files[0].Report with { Rows = theirs, Command = "python compare.py" };
        return new ReportData { Files = [("all", report), ("compare-all", compared)] };
    }

    private static ReportData Data(IReadOnlyList<BenchResult> rows) => new()
    {
        Files =
        [
            ("some", new BenchReport
            {
                Command = "mamba-cuda bench",
                Commit = "abc",
                Date = DateTime.UnixEpoch,
                Machine = new BenchMachine { Device = "a card & more", Host = "host", Runtime = ".NET" },
                Rows = rows,
            }),
        ],
    };

    private static BenchResult Row(string operation, string shape, double milliseconds) => new()
    {
        Operation = operation,
        Shape = shape,
        Type = "bf16",
        Command = $"mamba-cuda bench {operation} --shape {shape}",
        MedianMs = milliseconds,
        MinMs = milliseconds,
        MaxMs = milliseconds,
        Runs = 3,
        Bytes = (long)(milliseconds * 1e9),
        Operations = milliseconds * 4e9,
        Elements = 100,
    };

    private static async Task<(int Code, string Output, string Error)> Run(string arguments)
    {
        using StringWriter output = new(), error = new();
        string[] words = ["bench", "--report", .. arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        int code = await CommandRunner.RunAsync(words, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }

    // What a page would load or lead to, up to where its own places (#) and empty data begin.
    [GeneratedRegex("(src|href|url)\\s*[=(]\\s*[\"']?(#|data:,|[^\"' >)]*)")]
    private static partial Regex Links();
}
