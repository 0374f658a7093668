using System.Globalization;

namespace MambaCuda.Cli;

/// <summary>A logarithmic axis with its round numbers.</summary>
internal sealed class LogScale
{
    private const int MostTicks = 9;
    private const double Margin = 0.04;

    private readonly double _low, _high;

    /// <summary>Spans some positive numbers, with a little room at both ends.</summary>
    public LogScale(IEnumerable<double> numbers, bool inPowersOfTwo)
    {
        double[] all = [.. numbers];
        (_low, _high) = (Math.Log(all.Min()), Math.Log(all.Max()));

        // One number alone still gets a factor of four.
        double room = Math.Max((_high - _low) * Margin, _high - _low < Math.Log(4) ? (Math.Log(4) - (_high - _low)) / 2 : 0);
        (_low, _high) = (_low - room, _high + room);
        Ticks = [.. inPowersOfTwo ? Powers(2) : Decimals()];
    }

    /// <summary>The least number of the axis.</summary>
    public double Low => Math.Exp(_low);

    /// <summary>The greatest.</summary>
    public double High => Math.Exp(_high);

    /// <summary>The round numbers in it, as they are written beside it.</summary>
    public IReadOnlyList<double> Ticks { get; }

    /// <summary>Where a number lies, from 0 at the least to 1 at the greatest.</summary>
    public double Place(double number) => (Math.Log(number) - _low) / (_high - _low);

    /// <summary>As in "0.05", "2,000", "128 K"; K and M are 1024 and its square where the axis has powers of two.</summary>
    public static string Label(double number, bool inPowersOfTwo)
    {
        if (!inPowersOfTwo && number < 10_000)
        {
            return number.ToString("#,0.#####", CultureInfo.InvariantCulture);
        }

        double thousand = inPowersOfTwo ? 1024 : 1000;
        (double value, string unit) = number >= thousand * thousand ? (number / (thousand * thousand), " M")
            : number >= thousand ? (number / thousand, " K")
            : (number, "");
        return value.ToString("0.#####", CultureInfo.InvariantCulture) + unit;
    }

    private IEnumerable<double> Powers(double number)
    {
        double step = Math.Log(number);
        int first = (int)Math.Ceiling((_low / step) - 1e-9), last = (int)Math.Floor((_high / step) + 1e-9);
        int stride = Math.Max(1, (last - first + MostTicks) / MostTicks);
        for (int power = first; power <= last; power += stride)
        {
            yield return Math.Pow(number, power);
        }
    }

    /// <summary>Powers of ten; with 2 and 5 between where those are few.</summary>
    private IEnumerable<double> Decimals()
    {
        List<double> tens = [.. Powers(10)];
        if (tens.Count > 3)
        {
            return tens;
        }

        int first = (int)Math.Floor(_low / Math.Log(10)), last = (int)Math.Ceiling(_high / Math.Log(10));
        return Enumerable.Range(first, last - first + 1).SelectMany(power => new[] { 1.0, 2, 5 }.Select(digit => digit * Math.Pow(10, power)))
            .Where(number => number >= Low && number <= High);
    }
}
