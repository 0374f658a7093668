using MambaCuda.Cli;
using ScottPlot;
using ScottPlot.Plottables;
using ScottPlot.TickGenerators;

namespace MambaCuda.Benchmarks;

/// <summary>The charts of mamba-cuda bench --report as pictures, for where no page can be shown.</summary>
internal static class ReportPlots
{
    private const int Width = 1000;
    private const int Height = 520;

    // Those of report.css on light paper.
    private static readonly Color[] Palette =
        [.. new[] { "#1f6fd6", "#d3540f", "#1f8a4c", "#8a4fd0", "#c2255c", "#0c8599", "#6b7680" }.Select(hex => Color.FromHex(hex))];

    // What the library takes for sans there is seldom installed, and then it is one with serifs.
    private const string LinuxFont = "DejaVu Sans";

    /// <summary>Draws each chart of a folder's results into its folder plots, and returns the files.</summary>
    public static IReadOnlyList<string> Draw(string folder)
    {
        string target = Path.Combine(folder, "plots");
        Directory.CreateDirectory(target);
        List<string> files = [];
        foreach (Chart chart in ReportCharts.Of(ReportData.Read(folder)).Charts)
        {
            files.Add(Path.Combine(target, $"{chart.Id}.png"));
            using Plot plot = PlotOf(chart);
            plot.SavePng(files[^1], Width, Height);
        }

        return files;
    }

    private static Plot PlotOf(Chart chart)
    {
        Plot plot = new();
        ChartPoint[] points = [.. chart.Series.SelectMany(series => series.Points)];
        LogScale x = new(points.Select(point => point.X), chart.X.InPowersOfTwo), y = new(points.Select(point => point.Y), chart.Y.InPowersOfTwo);
        foreach (ChartSeries series in chart.Series)
        {
            Scatter line = plot.Add.Scatter(
                series.Points.Select(point => Math.Log10(point.X)).ToArray(), series.Points.Select(point => Math.Log10(point.Y)).ToArray(),
                Palette[series.Color]);
            line.LegendText = series.Name;
            line.LineWidth = series.Style == SeriesStyle.Marks ? 0 : 2;
            line.LinePattern = series.Style switch
            {
                SeriesStyle.Dashed => LinePattern.Dashed,
                SeriesStyle.Bound => LinePattern.Dotted,
                _ => LinePattern.Solid,
            };
            line.MarkerSize = series.Style == SeriesStyle.Bound ? 0 : 8;
            line.MarkerShape = series.Form switch
            {
                MarkForm.Square => MarkerShape.OpenSquare,
                MarkForm.Diamond => series.Style == SeriesStyle.Dashed ? MarkerShape.OpenDiamond : MarkerShape.FilledDiamond,
                MarkForm.Triangle => series.Style == SeriesStyle.Dashed ? MarkerShape.OpenTriangleUp : MarkerShape.FilledTriangleUp,
                _ => MarkerShape.FilledCircle,
            };
        }

        plot.Axes.SetLimits(Math.Log10(x.Low), Math.Log10(x.High), Math.Log10(y.Low), Math.Log10(y.High));
        plot.Axes.Bottom.TickGenerator = Ticks(x, chart.X);
        plot.Axes.Left.TickGenerator = Ticks(y, chart.Y);
        plot.Title(chart.Title);
        plot.XLabel(chart.X.Title);
        plot.YLabel(chart.Y.Title);
        plot.Font.Set(OperatingSystem.IsLinux() ? LinuxFont : Fonts.Sans);
        plot.Legend.ShadowColor = Colors.Transparent;
        plot.Legend.OutlineColor = Colors.Transparent;
        plot.ShowLegend(Edge.Right).Alignment = Alignment.UpperLeft;
        foreach (IAxis axis in new IAxis[] { plot.Axes.Right, plot.Axes.Top })
        {
            axis.FrameLineStyle.IsVisible = false;
        }

        plot.FigureBackground.Color = Colors.White;
        plot.DataBackground.Color = Colors.White;
        return plot;
    }

    private static NumericManual Ticks(LogScale scale, ChartAxis axis) => new(
        [.. scale.Ticks.Select(Math.Log10)], [.. scale.Ticks.Select(tick => LogScale.Label(tick, axis.InPowersOfTwo))]);
}
