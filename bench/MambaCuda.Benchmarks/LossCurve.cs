using System.Globalization;
using MambaCuda.Training;
using ScottPlot;

namespace MambaCuda.Benchmarks;

/// <summary>Draws the losses of a run from its metrics.jsonl: each step's, their running mean, and what was held out.</summary>
internal static class LossCurve
{
    private const int Width = 900;
    private const int Height = 480;

    // More points than pixels make a large file that looks the same.
    private const int MostPoints = 450;

    // The running mean is over this share of all steps; a step's own loss says more about its batch than about the model.
    private const int SmoothingShare = 100;

    // The fall of the first steps, from 8 bits, would flatten all that follows: the axis does not reach up to it.
    private const double SkippedShare = 0.01;

    /// <summary>Writes the picture.</summary>
    /// <param name="metricsPath">metrics.jsonl of a run whose tokens are bytes: its nats a token are then shown as bits a byte.</param>
    /// <param name="picturePath">A .svg or a .png.</param>
    /// <param name="title">What stands above; null for nothing.</param>
    public static void Draw(string metricsPath, string picturePath, string? title)
    {
        IReadOnlyList<TrainingMetrics> steps = MetricsLog.Read(metricsPath);
        if (steps.Count == 0)
        {
            throw new InvalidDataException($"{metricsPath} has no step; wait for the first.");
        }

        using Plot plot = new();
        Place[] every = [.. steps.Select(step => new Place(step.Seconds, Bits(step.Loss)))];
        Place[] validated = [.. steps.Where(step => step.ValidationLoss is not null)
            .Select(step => new Place(step.Seconds, Bits(step.ValidationLoss!.Value)))];
        Place[] smooth = Thin(Smooth(every));
        var line = plot.Add.ScatterLine(Seconds(smooth), Values(smooth), Color.FromHex("#1f77b4"));
        line.LineWidth = 2;
        line.LegendText = string.Create(CultureInfo.InvariantCulture, $"training, mean of {Window(steps.Count)} steps");
        if (validated.Length > 0)
        {
            var dots = plot.Add.Scatter(Seconds(validated), Values(validated), Color.FromHex("#d62728"));
            dots.LineWidth = 1.5f;
            dots.MarkerSize = 5;
            dots.LegendText = "held out";
        }

        Place[] shown = [.. smooth.Concat(validated).Where(place => place.Seconds >= every[^1].Seconds * SkippedShare)];
        double least = Math.Floor(shown.Min(place => place.Bits) * 4) / 4, most = shown.Max(place => place.Bits);
        plot.Axes.SetLimits(0, every[^1].Seconds, Math.Max(0, least - 0.25), most + 0.1);
        plot.XLabel(
            string.Create(CultureInfo.InvariantCulture, $"seconds of training ({steps[^1].Step:N0} steps, {steps[^1].Tokens:N0} bytes)"));
        plot.YLabel("bits per byte");
        if (title is not null)
        {
            plot.Title(title);
        }

        plot.Font.Set(Fonts.Sans);
        plot.ShowLegend(Alignment.UpperRight);
        plot.FigureBackground.Color = Colors.White;
        plot.DataBackground.Color = Colors.White;
        if (Path.GetExtension(picturePath) == ".svg")
        {
            plot.SaveSvg(picturePath, Width, Height);
        }
        else
        {
            plot.SavePng(picturePath, Width, Height);
        }
    }

    private static double Bits(double nats) => nats / Math.Log(2);

    private static int Window(int count) => Math.Max(1, count / SmoothingShare);

    /// <summary>The mean of each step's loss and those before it, as many as the window holds.</summary>
    private static Place[] Smooth(Place[] every)
    {
        int window = Window(every.Length);
        Place[] smooth = new Place[every.Length];
        double sum = 0;
        for (int i = 0; i < every.Length; i++)
        {
            sum += every[i].Bits - (i >= window ? every[i - window].Bits : 0);
            smooth[i] = every[i] with { Bits = sum / Math.Min(window, i + 1) };
        }

        return smooth;
    }

    private static Place[] Thin(Place[] places)
    {
        int stride = ((places.Length - 1) / MostPoints) + 1;
        return [.. places.Where((_, i) => i % stride == 0 || i == places.Length - 1)];
    }

    private static double[] Seconds(Place[] places) => [.. places.Select(place => place.Seconds)];

    private static double[] Values(Place[] places) => [.. places.Select(place => place.Bits)];

    private readonly record struct Place(double Seconds, double Bits);
}
