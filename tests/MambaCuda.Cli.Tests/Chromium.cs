using System.Diagnostics;
using System.Text.Json;
using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>A browser without a window that opens a page, measures what it has drawn, and tells what its console said.</summary>
internal static class Chromium
{
    // Runs in the page: every chart and every text of it as rectangles on the screen.
    private const string Measure = """
        <script>
        addEventListener("load", () => {
          const box = (element) => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
          const charts = [...document.querySelectorAll("figure svg")].map((svg) => ({
            id: svg.id,
            title: svg.querySelector("title")?.textContent ?? "",
            box: box(svg),
            texts: [...svg.querySelectorAll("text")].map((text) => ({ text: text.textContent, size: parseFloat(getComputedStyle(text).fontSize), box: box(text) })),
            lines: [...svg.querySelectorAll("path.line")].map((line) => ({ length: line.getTotalLength(), stroke: getComputedStyle(line).stroke })),
            marks: [...svg.querySelectorAll(".mark")].map(box),
          }));
          const measured = document.createElement("pre");
          measured.id = "measured";
          measured.textContent = JSON.stringify({ charts, width: document.documentElement.scrollWidth, screen: innerWidth });
          document.body.append(measured);
        });
        </script>
        """;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    /// <summary>The program; null where there is none.</summary>
    public static string? Program { get; } = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .SelectMany(folder => new[] { "chromium", "chromium-browser", "google-chrome" }.Select(name => Path.Combine(folder, name)))
        .FirstOrDefault(File.Exists);

    /// <summary>Opens a page, and tells everything that is wrong with it: nothing where all is well.</summary>
    public static async Task<(IReadOnlyList<string> Charts, IReadOnlyList<string> Problems)> Inspect(string html, TemporaryFolder folder, bool dark)
    {
        string page = folder.Write("inspected.html", html.Replace("</body>", Measure + "</body>", StringComparison.Ordinal));
        ProcessStartInfo start = new(Program!) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in new[]
        {
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
            "--enable-logging=stderr", "--window-size=1100,900", $"--user-data-dir={folder.File("profile")}", "--dump-dom", new Uri(page).AbsoluteUri,
        })
        {
            start.ArgumentList.Add(argument);
        }

        if (dark)
        {
            start.ArgumentList.Insert(0, "--blink-settings=preferredColorScheme=0");
        }

        using Process browser = Process.Start(start)!;
        using CancellationTokenSource limit = new(Limit);
        Task<string> document = browser.StandardOutput.ReadToEndAsync(limit.Token), log = browser.StandardError.ReadToEndAsync(limit.Token);
        await browser.WaitForExitAsync(limit.Token);
        string[] told = [.. (await log).Split('\n').Where(line => line.Contains(":CONSOLE", StringComparison.Ordinal))];
        string text = await document;
        const string Begin = "<pre id=\"measured\">";
        int begin = text.IndexOf(Begin, StringComparison.Ordinal);
        if (begin < 0)
        {
            return ([], [.. told, "The page was not measured."]);
        }

        string json = System.Net.WebUtility.HtmlDecode(text[(begin + Begin.Length)..text.IndexOf("</pre>", begin, StringComparison.Ordinal)]);
        using JsonDocument measured = JsonDocument.Parse(json);
        JsonElement root = measured.RootElement;
        List<string> charts = [], problems = [.. told];
        if (root.GetProperty("width").GetDouble() > root.GetProperty("screen").GetDouble())
        {
            problems.Add("The page is wider than the screen.");
        }

        foreach (JsonElement chart in root.GetProperty("charts").EnumerateArray())
        {
            charts.Add(chart.GetProperty("title").GetString()!);
            problems.AddRange(Problems(chart));
        }

        return (charts, problems);
    }

    private static IEnumerable<string> Problems(JsonElement chart)
    {
        string id = chart.GetProperty("id").GetString()!;
        Box whole = Box.Of(chart.GetProperty("box"));
        if (!(whole.Width >= 300 && whole.Height >= 150))
        {
            yield return $"{id} is drawn {whole.Width} x {whole.Height}.";
        }

        (string Text, double Size, Box Box)[] texts = [.. chart.GetProperty("texts").EnumerateArray().Select(text =>
            (text.GetProperty("text").GetString()!, text.GetProperty("size").GetDouble(), Box.Of(text.GetProperty("box"))))];
        if (texts.Length < 6)
        {
            yield return $"{id} has {texts.Length} texts.";
        }

        for (int i = 0; i < texts.Length; i++)
        {
            (string text, double size, Box box) = texts[i];
            if (!(box.Width > 0 && box.Height > 0 && size >= 11) || !box.IsIn(whole))
            {
                yield return $"{id}: '{text}' is cut off or too small to read.";
            }

            foreach ((string other, _, Box otherBox) in texts.Skip(i + 1).Where(other => other.Box.Overlaps(box)))
            {
                yield return $"{id}: '{text}' and '{other}' lie over one another ({otherBox}).";
            }
        }

        JsonElement[] lines = [.. chart.GetProperty("lines").EnumerateArray()];
        Box[] marks = [.. chart.GetProperty("marks").EnumerateArray().Select(Box.Of)];
        if (lines.Length + marks.Length == 0)
        {
            yield return $"{id} shows nothing.";
        }

        if (lines.Any(line => !(line.GetProperty("length").GetDouble() > 5) || line.GetProperty("stroke").GetString() == "none"))
        {
            yield return $"{id} has a line that nobody sees.";
        }

        if (marks.Any(mark => !(mark.Width > 2) || !mark.IsIn(whole)))
        {
            yield return $"{id} has a mark that nobody sees.";
        }
    }

    private readonly record struct Box(double Left, double Top, double Right, double Bottom)
    {
        private const double Slack = 0.5;

        public double Width => Right - Left;

        public double Height => Bottom - Top;

        public static Box Of(JsonElement box) => new(box[0].GetDouble(), box[1].GetDouble(), box[2].GetDouble(), box[3].GetDouble());

        public bool IsIn(Box outer) =>
            Left >= outer.Left - Slack && Right <= outer.Right + Slack && Top >= outer.Top - Slack && Bottom <= outer.Bottom + Slack;

        public bool Overlaps(Box other) =>
            Left < other.Right - Slack && other.Left < Right - Slack && Top < other.Bottom - Slack && other.Top < Bottom - Slack;
    }
}
