namespace MambaCuda.Cli;

/// <summary>How a series is drawn.</summary>
internal enum SeriesStyle
{
    /// <summary>A line with dots: what this program measured.</summary>
    Line,

    /// <summary>A dashed line with rings: what others measured.</summary>
    Dashed,

    /// <summary>A dotted line without marks: what was computed, as a floor or a ceiling.</summary>
    Bound,

    /// <summary>Marks alone.</summary>
    Marks,
}

/// <summary>The form of marks.</summary>
internal enum MarkForm
{
    Circle,
    Diamond,
    Triangle,
    Square,
}

/// <summary>A place in a chart, in the axes' numbers, and what it is, which a pointer over it shows.</summary>
internal readonly record struct ChartPoint(double X, double Y, string Title);

/// <summary>Points that belong together.</summary>
/// <param name="Name">As the legend has it.</param>
/// <param name="Points">In the order of their X.</param>
internal sealed record ChartSeries(string Name, IReadOnlyList<ChartPoint> Points)
{
    /// <summary>Which of the colours, from 0; see <see cref="Chart.ColorCount"/>.</summary>
    public int Color { get; init; }

    public SeriesStyle Style { get; init; }

    public MarkForm Form { get; init; }
}

/// <summary>An axis, always logarithmic: what is measured spans many sizes.</summary>
/// <param name="Title">What it counts, with its unit.</param>
/// <param name="InPowersOfTwo">Whether it counts tokens or sequences, whose round numbers are 1024 and 64 and not 1000 and 50.</param>
internal sealed record ChartAxis(string Title, bool InPowersOfTwo = false);

/// <summary>A chart as data: what the page draws as SVG and the plots as PNG.</summary>
internal sealed record Chart
{
    /// <summary>How many colours there are.</summary>
    public const int ColorCount = 7;

    /// <summary>A short name for links and files, as in "time-against-length".</summary>
    public required string Id { get; init; }

    public required string Title { get; init; }

    public required ChartAxis X { get; init; }

    public required ChartAxis Y { get; init; }

    public required IReadOnlyList<ChartSeries> Series { get; init; }

    /// <summary>What it says and on what assumptions, a sentence or two each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

/// <summary>A chart that there are no measurements for, and the command that makes them.</summary>
internal sealed record MissingChart(string Title, string Command);
