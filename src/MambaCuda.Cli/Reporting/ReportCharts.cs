using System.Globalization;

namespace MambaCuda.Cli;

/// <summary>The charts that a folder's results give, and those that they do not.</summary>
internal sealed class ReportCharts
{
    // Fewer lengths or batches are no curve; the tables have them.
    private const int LeastPoints = 3;

    // A Transformer's prompt, where none is said: what the paper's figure 8 has.
    private const int TransformerContext = 2048;
    private const int BytesOfTwo = 2;

    private static readonly MarkForm[] OtherForms = [MarkForm.Square, MarkForm.Diamond, MarkForm.Triangle];
    private static readonly string[] Forward = ["scan", "attention", "conv1d"];
    private static readonly string[] Backward = ["scan-backward", "attention-backward", "conv1d-backward"];

    private readonly List<Chart> _charts = [];
    private readonly List<MissingChart> _missing = [];
    private readonly List<MeasuredRow> _rows;
    private readonly List<string> _others;
    private readonly bool _hasOneDevice, _hasCard;
    private int _cardCharts;

    private ReportCharts(ReportData data)
    {
        // Cards first, whatever their files are called.
        _rows = [.. data.Rows.OrderBy(row => !IsOfCard(row))];
        _hasCard = _rows.Any(IsOfCard);
        _others = [.. _rows.Select(row => row.Other).OfType<string>().Distinct()];
        _hasOneDevice = _rows.Select(row => row.Report.Machine.Device).Distinct().Count() <= 1;
        AddLengths("time-against-length", "Time against length", Forward, "mamba-cuda bench --suite scan --suite attention --out bench/results");
        AddLengths(
            "backward-against-length", "Time of the gradients against length", Backward,
            "mamba-cuda bench --suite train --suite attention --out bench/results");
        AddDecode();
        AddModelLengths(
            "memory-against-length", "Memory against length", "memory, GiB", "mamba-cuda bench --suite lengths --suite model --out bench/results",
            row => row.Result.PeakMemoryBytes / (double)(1L << 30),
            "The most device memory that was allocated while it ran, weights included. A prompt is read in chunks, so that its length takes none.");
        AddModelLengths(
            "rate-against-length", "Tokens a second against length", "tokens a second", "mamba-cuda bench --suite lengths --suite model --out bench/results",
            row => row.Result.Elements / row.Result.MedianMs * 1e3,
            "A cost that grows with the length alone is a level line; attention's, which grows with its square, would fall.");
        AddRooflines();
    }

    /// <summary>The charts, in the order of the page.</summary>
    public IReadOnlyList<Chart> Charts => _charts;

    /// <summary>Those that there is nothing to draw for.</summary>
    public IReadOnlyList<MissingChart> Missing => _missing;

    /// <summary>Makes them.</summary>
    public static ReportCharts Of(ReportData data) => new(data);

    /// <summary>The paper's figure 8: a chart for each batch and number of channels that was measured at three lengths or more.</summary>
    private void AddLengths(string id, string title, string[] operations, string command)
    {
        (int before, int beforeOfCards) = (_charts.Count, _cardCharts);
        foreach (IGrouping<(string Device, long Batch, long Channels), MeasuredRow> size in _rows
            .Where(row => operations.Contains(row.Result.Operation) && row.Size("BATCH") is not null && row.Channels is not null && row.Size("LENGTH") is not null)
            .GroupBy(row => (DeviceOf(row), row.Size("BATCH")!.Value, row.Channels!.Value))
            .OrderBy(group => !IsOfCard(group.First())).ThenBy(group => group.Key))
        {
            string[] types = TypesOf(size);
            ChartSeries[] series =
            [
                .. size.GroupBy(row => (row.Result.Operation, row.Other, row.Result.Variant, row.Result.Type))
                    .Select(group => Curve(
                        Name(group.Key.Operation, group.Key.Variant, group.Key.Other, group.Key.Type, types),
                        group, row => row.Size("LENGTH")!.Value, row => row.Result.MedianMs,
                        row => Text($"{row.Size("LENGTH"):n0} tokens: {row.Result.MedianMs:g4} ms"),
                        Array.IndexOf(operations, group.Key.Operation), group.Key.Other))
                    .Where(curve => curve.Points.Count >= LeastPoints),
            ];
            if (series.Length > 0)
            {
                Add(new Chart
                {
                    Id = _charts.Count == before ? id : Text($"{id}-{_charts.Count - before + 1}"),
                    Title = Text($"{title}, batch {size.Key.Batch}, {size.Key.Channels:n0} channels{size.Key.Device}"),
                    X = new ChartAxis("length, tokens", InPowersOfTwo: true),
                    Y = new ChartAxis("time, ms"),
                    Series = series,
                    Notes = [.. Crossings(series, operations[0])],
                }, size.First());
            }
        }

        MissIfNone(beforeOfCards, title, command);
    }

    /// <summary>Where the first of the scans that is ours crosses each attention.</summary>
    private static IEnumerable<string> Crossings(ChartSeries[] series, string scan)
    {
        if (series.FirstOrDefault(one => one.Style == SeriesStyle.Line && one.Name == scan) is not { } ours)
        {
            yield break;
        }

        foreach (ChartSeries other in series.Where(one => one.Name.StartsWith("attention", StringComparison.Ordinal)))
        {
            double from = Math.Max(ours.Points[0].X, other.Points[0].X), to = Math.Min(ours.Points[^1].X, other.Points[^1].X);
            if (from >= to)
            {
                continue;
            }

            double[] lengths = [.. ours.Points.Concat(other.Points).Select(point => point.X).Where(x => x >= from && x <= to).Distinct().Order()];
            double[] lead = [.. lengths.Select(length => Math.Log(At(other, length) / At(ours, length)))];
            int turn = Enumerable.Range(0, lengths.Length - 1).FirstOrDefault(i => lead[i] <= 0 && lead[i + 1] > 0, -1);
            double factor = Math.Exp(lead[^1]);
            yield return turn >= 0
                ? Text($"From about {Crossing(lengths, lead, turn):n0} tokens on the {scan} is faster than {other.Name}; at {to:n0} that takes {factor:g3} times as long.")
                : lead.All(one => one > 0)
                    ? Text($"At every length measured the {scan} is faster than {other.Name}; at {to:n0} tokens that takes {factor:g3} times as long.")
                    : lead.All(one => one <= 0) ? Text($"The {scan} is no faster than {other.Name} at any length measured.")
                    : Text($"At {to:n0} tokens the {scan} takes {1 / factor:g3} of the time of {other.Name}.");
        }
    }

    private static double Crossing(double[] lengths, double[] lead, int turn)
    {
        double share = -lead[turn] / (lead[turn + 1] - lead[turn]);
        double length = lengths[turn] * Math.Pow(lengths[turn + 1] / lengths[turn], share);
        double unit = Math.Pow(10, Math.Floor(Math.Log10(length)) - 1);
        return Math.Round(length / unit) * unit;
    }

    /// <summary>The time of a series at a length, between two points by a straight line in logarithms.</summary>
    private static double At(ChartSeries series, double length)
    {
        int next = Enumerable.Range(0, series.Points.Count).First(i => series.Points[i].X >= length);
        ChartPoint b = series.Points[next], a = series.Points[Math.Max(next - 1, 0)];
        return b.X == length ? b.Y : a.Y * Math.Pow(b.Y / a.Y, Math.Log(length / a.X) / Math.Log(b.X / a.X));
    }

    /// <summary>A chart for each model: tokens a second against batch, under what the memory allows a Transformer of its size.</summary>
    private void AddDecode()
    {
        const string Title = "Decode against batch";
        (int before, int beforeOfCards) = (_charts.Count, _cardCharts);
        foreach (IGrouping<(string Device, string Model), MeasuredRow> model in _rows
            .Where(row => row.Result is { Operation: "decode", Model: not null } && row.Size("BATCH") is not null)
            .GroupBy(row => (DeviceOf(row), row.Result.Model!))
            .OrderBy(group => !IsOfCard(group.First())).ThenBy(group => Array.IndexOf(ModelSizes.Names, group.Key.Item2)))
        {
            string[] types = TypesOf(model);
            List<ChartSeries> series = [];
            foreach (var group in model.GroupBy(row => (row.Other, row.Result.Variant, row.Result.Type))
                .OrderBy(group => group.Key.Other is not null))
            {
                ChartSeries curve = Curve(
                    Name(group.Key.Other ?? "MambaCuda", group.Key.Variant, other: null, group.Key.Type, types),
                    group, row => row.Size("BATCH")!.Value, row => row.Result.Elements / row.Result.MedianMs * 1e3,
                    row => Text($"batch {row.Size("BATCH"):n0}: {row.Result.Elements / row.Result.MedianMs * 1e3:n0} tokens a second"),
                    series.Count % (Chart.ColorCount - 1), group.Key.Other);
                if (curve.Points.Count >= 2)
                {
                    series.Add(curve);
                }
            }

            if (series.Count == 0)
            {
                continue;
            }

            List<string> notes = [];
            double? read = model.Select(row => row.Report.ReadGigabytesPerSecond ?? row.Report.CopyGigabytesPerSecond).FirstOrDefault(rate => rate is not null);
            if (read is { } rate && ModelSizes.Names.Contains(model.Key.Model))
            {
                (ChartSeries floor, string assumptions) = TransformerBound(model.Key.Model, rate, series.SelectMany(one => one.Points).Select(point => point.X));
                series.Add(floor);
                notes.Add(assumptions);
            }

            Add(new Chart
            {
                Id = _charts.Count == before ? "decode-against-batch" : Text($"decode-against-batch-{_charts.Count - before + 1}"),
                Title = $"{Title}, {model.Key.Model}{model.Key.Device}",
                X = new ChartAxis("sequences in a batch", InPowersOfTwo: true),
                Y = new ChartAxis("tokens a second"),
                Series = series,
                Notes = notes,
            }, model.First());
        }

        MissIfNone(beforeOfCards, Title, "mamba-cuda bench --suite decode --out bench/results");
    }

    /// <summary>
    /// What a Transformer of a model's size cannot pass: each step reads its weights once and the keys and values of each sequence.
    /// </summary>
    private static (ChartSeries Series, string Assumptions) TransformerBound(string model, double gigabytesPerSecond, IEnumerable<double> batches)
    {
        MambaConfig config = ModelSizes.Config(model);
        double weights = (double)BytesOfTwo * config.Tensors().Sum(tensor => tensor.ElementCount);

        // Two Mamba blocks have the parameters of one Transformer layer of the same width (the paper, section 3.4).
        int layers = config.LayerCount / 2;
        double cache = 2.0 * layers * config.HiddenSize * BytesOfTwo * TransformerContext;
        ChartPoint[] points =
        [
            .. batches.Distinct().Order().Select(batch => (Batch: batch, Rate: batch * gigabytesPerSecond * 1e9 / (weights + (batch * cache))))
                .Select(one => new ChartPoint(one.Batch, one.Rate, Text($"batch {one.Batch:n0}: {one.Rate:n0} tokens a second")))
        ];
        return (
            new ChartSeries("bound of a Transformer", points) { Style = SeriesStyle.Bound, Color = Chart.ColorCount - 1 },
            Text($"The dotted line is no measurement: a Transformer with as many weights in bf16 ({weights / 1e9:f2} GB), {layers} layers of width {config.HiddenSize:n0} (two Mamba blocks for a layer), ")
            + Text($"one key and one value of that width a layer and token in bf16, and {TransformerContext:n0} tokens of context ({cache / 1e6:n0} MB a sequence), that does nothing in a step but read weights and cache once at the measured {gigabytesPerSecond:n0} GB/s."));
    }

    /// <summary>A whole model at several lengths, one sequence.</summary>
    private void AddModelLengths(string id, string title, string axis, string command, Func<MeasuredRow, double?> value, string note)
    {
        (int before, int beforeOfCards) = (_charts.Count, _cardCharts);
        foreach (IGrouping<string, MeasuredRow> device in _rows
            .Where(row => row.Result is { Operation: "prefill" or "gradients", Model: not null } && row.Size("BATCH") == 1 && value(row) is > 0)
            .GroupBy(DeviceOf))
        {
            string[] types = TypesOf(device);
            ChartSeries[] series =
            [
                .. device.GroupBy(row => (row.Result.Operation, row.Result.Model, row.Result.Variant, row.Other, row.Result.Type))
                    .OrderBy(group => group.Key.Operation, StringComparer.Ordinal)
                    .Select((group, i) => Curve(
                        Name($"{group.Key.Operation} {group.Key.Model}", group.Key.Variant, group.Key.Other, group.Key.Type, types),
                        group, row => row.Size("LENGTH")!.Value, row => value(row)!.Value,
                        row => Text($"{row.Size("LENGTH"):n0} tokens: {value(row):g4}"), i % Chart.ColorCount, group.Key.Other))
                    .Where(curve => curve.Points.Count >= LeastPoints),
            ];
            if (series.Length > 0)
            {
                Add(new Chart
                {
                    Id = _charts.Count == before ? id : Text($"{id}-{_charts.Count - before + 1}"),
                    Title = $"{title}{device.Key}",
                    X = new ChartAxis("length, tokens", InPowersOfTwo: true),
                    Y = new ChartAxis(axis),
                    Series = series,
                    Notes = [note],
                }, device.First());
            }
        }

        MissIfNone(beforeOfCards, title, command);
    }

    /// <summary>Operations a byte against rate, of each device, under its measured ceilings.</summary>
    private void AddRooflines()
    {
        const string Title = "Roofline of every operation";
        (int before, int beforeOfCards) = (_charts.Count, _cardCharts);
        foreach (IGrouping<string, MeasuredRow> device in _rows
            .Where(row => row.Other is null && row.Result is { Model: null, Bytes: > 0, Operations: > 0 }).GroupBy(row => row.Report.Machine.Device))
        {
            ChartSeries[] series = [.. device.GroupBy(row => row.Result.Operation).OrderBy(group => group.Key, StringComparer.Ordinal).Select(Operation)];
            List<ChartSeries> roofs = [.. Roofs([.. device], series.SelectMany(one => one.Points).ToList())];
            Add(new Chart
            {
                Id = _charts.Count == before ? "roofline" : Text($"roofline-{_charts.Count - before + 1}"),
                Title = $"{Title}, {device.Key}",
                X = new ChartAxis("operations a byte"),
                Y = new ChartAxis("TFLOP/s"),
                Series = [.. series, .. roofs],
                Notes =
                [
                    "Operations and bytes are those of the formula: each operand moved once, an exponential or a division one operation. "
                    + "Dotted lines are ceilings, measured in the same invocation; that of special functions counts nothing else, and an operation that has others too may lie above it.",
                ],
            }, device.First());
        }

        MissIfNone(beforeOfCards, Title, "mamba-cuda bench --suite ops --suite scan --suite train --out bench/results");
    }

    private static ChartSeries Operation(IGrouping<string, MeasuredRow> rows)
    {
        // Families have a colour, and forward, backward and one-token forms a mark each.
        string[] families = ["scan", "attention", "conv1d", "add-rms-norm", "linear"];
        string family = rows.Key.Replace("state-update", "scan", StringComparison.Ordinal);
        int color = Array.FindIndex(families, name => family.StartsWith(name, StringComparison.Ordinal));
        return new ChartSeries(rows.Key, [.. rows.OrderBy(row => row.Result.Operations / row.Result.Bytes).Select(row => new ChartPoint(
            row.Result.Operations / row.Result.Bytes,
            row.Result.Operations / row.Result.MedianMs / 1e9,
            Text($"{BenchTable.Title(row.Result)} {row.Result.Type}: {row.Result.MedianMs:g4} ms, {row.Result.TeraflopPerSecond:g4} TFLOP/s, {row.Result.GigabytesPerSecond:n0} GB/s")))])
        {
            Style = SeriesStyle.Marks,
            Color = color < 0 ? families.Length : color,
            Form = rows.Key.EndsWith("-backward", StringComparison.Ordinal) ? MarkForm.Diamond
                : rows.Key.Contains("update", StringComparison.Ordinal) || rows.Key.Contains("decode", StringComparison.Ordinal) ? MarkForm.Triangle
                : MarkForm.Circle,
        };
    }

    /// <summary>The slope of the memory up to the highest level, and each level from where the slope meets it.</summary>
    private static IEnumerable<ChartSeries> Roofs(MeasuredRow[] rows, List<ChartPoint> points)
    {
        const int Color = Chart.ColorCount - 1;
        BenchReport last = rows.MaxBy(row => row.Report.Date)!.Report;
        double low = points.Min(point => point.X), high = points.Max(point => point.X);
        if (Math.Max(last.CopyGigabytesPerSecond ?? 0, last.ReadGigabytesPerSecond ?? 0) is var memory && memory == 0)
        {
            yield break;
        }

        (string Name, double Level)[] levels = [.. last.Levels.OrderByDescending(level => level.TeraflopPerSecond)];
        double top = levels.Length > 0 ? levels[0].Level : Math.Max(points.Max(point => point.Y), low * memory / 1e3);
        yield return new ChartSeries(Text($"memory, {memory:n0} GB/s"), [Slope(low), Slope(Math.Max(low, top * 1e3 / memory))])
        {
            Style = SeriesStyle.Bound,
            Color = Color,
        };
        foreach ((string name, double level) in levels)
        {
            double from = Math.Max(low, level * 1e3 / memory);
            string title = Text($"{name}, {level:g3} TFLOP/s");
            yield return new ChartSeries(title, [new ChartPoint(from, level, title), new ChartPoint(Math.Max(high, from * 2), level, title)])
            {
                Style = SeriesStyle.Bound,
                Color = Color,
            };
        }

        ChartPoint Slope(double x) => new(x, x * memory / 1e3, "");
    }

    /// <summary>
    /// A curve of the rows of one series, ours or another's, each of whom has a mark of its own. Of one place that was measured several times the launches in a row are taken, which a model's are.
    /// </summary>
    private ChartSeries Curve(
        string name, IEnumerable<MeasuredRow> rows, Func<MeasuredRow, double> x, Func<MeasuredRow, double> y, Func<MeasuredRow, string> title,
        int color, string? other) =>
        new(name,
        [
            .. rows.GroupBy(x).OrderBy(group => group.Key).Select(group => group.MaxBy(row => (row.Result.Launches, row.Report.Date))!)
                .Select(row => new ChartPoint(x(row), y(row), title(row))),
        ])
        {
            Color = color,
            Style = other is null ? SeriesStyle.Line : SeriesStyle.Dashed,
            Form = other is null ? MarkForm.Circle : OtherForms[_others.IndexOf(other) % OtherForms.Length],
        };

    private static string Name(string what, string? variant, string? other, string type, string[] types) =>
        $"{what}{(variant is null ? "" : $" {variant}")}{(types.Length > 1 ? $" {type}" : "")}{(other is null ? "" : $", {other}")}";

    private static string[] TypesOf(IEnumerable<MeasuredRow> rows) => [.. rows.Select(row => row.Result.Type).Distinct()];

    /// <summary>How a title names the device of a row: not at all where there is but one. Rows of two are never in one chart.</summary>
    private string DeviceOf(MeasuredRow row) => _hasOneDevice ? "" : $", {row.Report.Machine.Device}";

    private static bool IsOfCard(MeasuredRow row) => row.Report.Machine.Cuda is not null;

    private void Add(Chart chart, MeasuredRow row)
    {
        _charts.Add(chart);
        _cardCharts += IsOfCard(row) || !_hasCard ? 1 : 0;
    }

    /// <summary>Tells what makes a chart of the card's rows where there is none, or of any rows where there is no card.</summary>
    private void MissIfNone(int beforeOfCards, string title, string command)
    {
        if (_cardCharts == beforeOfCards)
        {
            _missing.Add(new MissingChart(title, command));
        }
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
