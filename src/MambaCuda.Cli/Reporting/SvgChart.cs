using System.Globalization;
using System.Net;
using System.Text;

namespace MambaCuda.Cli;

/// <summary>
/// Draws a chart as SVG that stands in a page: colours are classes of the page's style, so it is light or dark as the page is. Sizes of
/// texts are estimated, since nothing here knows the reader's font: rather too large than too small.
/// </summary>
internal static class SvgChart
{
    private const double Width = 880;
    private const double Height = 430;
    private const double Top = 14;
    private const double Bottom = 52;
    private const double PlotBottom = Height - Bottom;
    private const double Left = 76;
    private const double LetterWidth = 6.9;
    private const double LegendLine = 20;
    private const double LegendSwatch = 36;
    private const double MarkRadius = 4;

    public static string Draw(Chart chart)
    {
        // Lines in the order of their ends, as they lie; marks by name, for each lies everywhere; what was computed last.
        ChartSeries[] legend =
        [
            .. chart.Series.OrderBy(series => series.Style == SeriesStyle.Bound)
                .ThenByDescending(series => series.Style == SeriesStyle.Marks ? 0 : series.Points[^1].Y).ThenBy(series => series.Name, StringComparer.Ordinal),
        ];
        double right = Math.Min(legend.Max(series => series.Name.Length) * LetterWidth, 300) + LegendSwatch + 24;
        Plot plot = new(
            new LogScale(chart.Series.SelectMany(series => series.Points).Select(point => point.X), chart.X.InPowersOfTwo),
            new LogScale(chart.Series.SelectMany(series => series.Points).Select(point => point.Y), chart.Y.InPowersOfTwo),
            Width - right);
        double height = Math.Max(Height, Top + Bottom + (legend.Length * LegendLine));
        StringBuilder svg = new();
        svg.Append(Line($"<svg id=\"{chart.Id}-chart\" viewBox=\"0 0 {Width} {height}\" role=\"img\" aria-labelledby=\"{chart.Id}-t {chart.Id}-d\">"));
        svg.Append(Line($"<title id=\"{chart.Id}-t\">{Text(chart.Title)}</title>"));
        svg.Append(Line($"<desc id=\"{chart.Id}-d\">{Text(Description(chart))}</desc>"));
        Axes(svg, chart, plot);
        foreach (ChartSeries series in chart.Series)
        {
            Series(svg, series, plot);
        }

        for (int i = 0; i < legend.Length; i++)
        {
            Legend(svg, legend[i], plot.Right + 22, Top + 10 + (i * LegendLine));
        }

        return svg.Append("</svg>").ToString();
    }

    private static string Description(Chart chart) =>
        $"{chart.Y.Title} against {chart.X.Title}, both axes logarithmic. Series: {string.Join("; ", chart.Series.Select(series => series.Name))}. "
        + "The tables below have the numbers.";

    private static void Axes(StringBuilder svg, Chart chart, Plot plot)
    {
        foreach (double tick in plot.X.Ticks)
        {
            double x = plot.XOf(tick);
            svg.Append(Line($"<line class=\"grid\" x1=\"{x:f1}\" y1=\"{Top}\" x2=\"{x:f1}\" y2=\"{PlotBottom}\"/>"));
            svg.Append(Line($"<text class=\"tick\" x=\"{x:f1}\" y=\"{PlotBottom + 18}\" text-anchor=\"middle\">{LogScale.Label(tick, chart.X.InPowersOfTwo)}</text>"));
        }

        foreach (double tick in plot.Y.Ticks)
        {
            double y = plot.YOf(tick);
            svg.Append(Line($"<line class=\"grid\" x1=\"{Left}\" y1=\"{y:f1}\" x2=\"{plot.Right}\" y2=\"{y:f1}\"/>"));
            svg.Append(Line($"<text class=\"tick\" x=\"{Left - 8}\" y=\"{y + 4:f1}\" text-anchor=\"end\">{LogScale.Label(tick, chart.Y.InPowersOfTwo)}</text>"));
        }

        svg.Append(Line($"<path class=\"axis\" d=\"M{Left} {Top}V{PlotBottom}H{plot.Right}\"/>"));
        double middle = (Left + plot.Right) / 2, high = (Top + PlotBottom) / 2;
        svg.Append(Line($"<text class=\"name\" x=\"{middle:f1}\" y=\"{PlotBottom + 42}\" text-anchor=\"middle\">{Text(chart.X.Title)}</text>"));
        svg.Append(Line($"<text class=\"name\" transform=\"translate(15 {high:f1}) rotate(-90)\" text-anchor=\"middle\">{Text(chart.Y.Title)}</text>"));
    }

    private static void Series(StringBuilder svg, ChartSeries series, Plot plot)
    {
        svg.Append(Line($"<g class=\"series c{series.Color} {ClassOf(series)}\">"));
        if (series.Style != SeriesStyle.Marks)
        {
            string path = string.Join('L', series.Points.Select(point => Line($"{plot.XOf(point.X):f1} {plot.YOf(point.Y):f1}")));
            svg.Append(Line($"<path class=\"line\" d=\"M{path}\"><title>{Text(series.Name)}</title></path>"));
        }

        if (series.Style != SeriesStyle.Bound)
        {
            foreach (ChartPoint point in series.Points)
            {
                Mark(svg, series.Form, plot.XOf(point.X), plot.YOf(point.Y), point.Title);
            }
        }

        svg.Append("</g>");
    }

    private static void Legend(StringBuilder svg, ChartSeries series, double x, double y)
    {
        svg.Append(Line($"<g class=\"series c{series.Color} {ClassOf(series)}\">"));
        if (series.Style != SeriesStyle.Marks)
        {
            svg.Append(Line($"<path class=\"line\" d=\"M{x:f1} {y:f1}h26\"/>"));
        }

        if (series.Style != SeriesStyle.Bound)
        {
            Mark(svg, series.Form, x + 13, y, title: null);
        }

        svg.Append(Line($"<text class=\"legend\" x=\"{x + LegendSwatch:f1}\" y=\"{y + 4:f1}\">{Text(series.Name)}</text></g>"));
    }

    private static void Mark(StringBuilder svg, MarkForm form, double x, double y, string? title)
    {
        const double R = MarkRadius;
        string shape = form switch
        {
            MarkForm.Diamond => Line($"<path class=\"mark\" d=\"M{x:f1} {y - R - 1:f1}l{R + 1} {R + 1}l{-R - 1} {R + 1}l{-R - 1} {-R - 1}z\""),
            MarkForm.Triangle => Line($"<path class=\"mark\" d=\"M{x:f1} {y - R - 1:f1}l{R + 1} {(2 * R) + 1}h{(-2 * R) - 2}z\""),
            MarkForm.Square => Line($"<path class=\"mark\" d=\"M{x - R:f1} {y - R:f1}h{2 * R}v{2 * R}h{-2 * R}z\""),
            _ => Line($"<circle class=\"mark\" cx=\"{x:f1}\" cy=\"{y:f1}\" r=\"{R}\""),
        };
        svg.Append(shape).Append(title is null ? "/>" : $"><title>{Text(title)}</title></{(form == MarkForm.Circle ? "circle" : "path")}>");
    }

    private static string ClassOf(ChartSeries series) => $"{series.Style} {series.Form}".ToLowerInvariant();

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>The rectangle between the axes.</summary>
    private sealed record Plot(LogScale X, LogScale Y, double Right)
    {
        public double XOf(double number) => Left + (X.Place(number) * (Right - Left));

        public double YOf(double number) => PlotBottom - (Y.Place(number) * (PlotBottom - Top));
    }
}
