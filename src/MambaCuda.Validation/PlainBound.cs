namespace MambaCuda.Validation;

/// <summary>
/// When an operation is right: its error against float64 is at most twice that of the plain evaluation in the type that it computes in,
/// plus rounding. Errors are norms over one column of a group of rows (one channel of one sequence), so that a large channel does not hide
/// a small one. Rounding is some units in the last place of what the summed terms amount to, without which a plain evaluation that happens
/// to be exact could not be met.
/// </summary>
/// <param name="exact">The result in float64.</param>
/// <param name="plain">The result of the plain evaluation, rounded to the type that results are stored in.</param>
/// <param name="magnitude">What the terms of each result amount to without their signs.</param>
/// <param name="columns">The row length of all of these.</param>
public sealed class PlainBound(double[] exact, float[] plain, double[] magnitude, int columns)
{
    /// <summary>How many units in the last place of the terms are allowed beside the plain evaluation's error.</summary>
    public const double RoundingUnits = 3;

    /// <summary>Half of the distance from 1 to the next number: 2^-24 for float32.</summary>
    public double UnitRoundoff { get; init; } = Math.Pow(2, -24);

    /// <summary>
    /// Where error and bound have the largest quotient, over all columns of groups of <paramref name="groups"/>[i] rows that lie one after
    /// the other.
    /// </summary>
    /// <param name="output">The name of the output.</param>
    /// <param name="actual">What the operation gave.</param>
    /// <param name="groups">The rows of each group.</param>
    public OutputError Worst(string output, float[] actual, IEnumerable<int> groups)
    {
        OutputError worst = new(output, 0, 0);
        int firstRow = 0;
        foreach (int rows in groups)
        {
            for (int column = 0; column < columns; column++)
            {
                worst = OutputError.Worse(worst, ErrorOf(output, actual, firstRow, rows, column));
            }

            firstRow += rows;
        }

        return worst;
    }

    private OutputError ErrorOf(string output, float[] actual, int firstRow, int rows, int column)
    {
        double error = 0, plainError = 0, size = 0;
        for (int row = firstRow; row < firstRow + rows; row++)
        {
            int i = (row * columns) + column;
            error += Square(actual[i] - exact[i]);
            plainError += Square(plain[i] - exact[i]);
            size += Square(magnitude[i]);
        }

        // Anything is below an infinite bound: a case that overflows in the plain evaluation says nothing, and counts as wrong.
        return new OutputError(output, Math.Sqrt(error), (2 * Math.Sqrt(plainError)) + (RoundingUnits * UnitRoundoff * Math.Sqrt(size)));
    }

    private static double Square(double value) => value * value;
}
