using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The logarithm of a token's probability against float64.</summary>
public static class LogProbabilitiesValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in LogProbabilitiesCase.All
        from placement in RowPlacement.For(row.Vocabulary)
        select new ValidationRow(nameof(Backend.LogProbabilities), placement.Of(row.Name), device =>
        {
            (float[] logits, int[] tokens) = row.Inputs();
            return Compare(logits, tokens, LogProbabilitiesRunner.Run(device, logits, tokens, placement.Gap));
        })
        { Work = row.Rows * row.Vocabulary };

    /// <summary>How far a result is from float64.</summary>
    public static IReadOnlyList<OutputError> Compare(float[] logits, int[] tokens, float[] actual)
    {
        double[] exact = LogProbabilitiesOracle.Run<double>(logits, tokens);

        // What is subtracted: the logit and the logarithm of a sum that lies a little above the largest logit.
        int vocabulary = logits.Length / tokens.Length;
        double[] size = [.. tokens.Select((id, row) => Math.Abs(logits[(row * vocabulary) + id]) + Math.Abs(exact[row]) + 1)];
        PlainBound bound = new(exact, LogProbabilitiesOracle.Run<float>(logits, tokens), size, columns: 1);
        return [bound.Worst("output", actual, Enumerable.Repeat(1, tokens.Length))];
    }
}
