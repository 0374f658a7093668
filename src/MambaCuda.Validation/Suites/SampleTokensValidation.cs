using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Chosen tokens against the probabilities that they have in float64.</summary>
public static class SampleTokensValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in SampleTokensCase.All
        select new ValidationRow(nameof(Backend.SampleTokens), row.Name, device =>
        {
            SampleTokensInputs inputs = row.Inputs();
            return Compare(inputs, SampleTokensRunner.Run(device, inputs));
        })
        { Work = row.Rows * row.Vocabulary };

    /// <summary>How far a row's random number is from the share of its token, and what else came of the draw.</summary>
    public static IReadOnlyList<OutputError> Compare(SampleTokensInputs inputs, SampledTokens actual)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(actual);

        // Rounding may move a border between two tokens, and random numbers may lie that near to one.
        const double Bound = 2e-6;
        OutputError draw = new("token ids", 0, Bound);
        int wrongCounts = 0, wrongStates = 0;
        for (int row = 0; row < inputs.Rows; row++)
        {
            int chosen = actual.TokenIds[row];
            if (chosen < 0 || chosen >= inputs.Vocabulary)
            {
                return [new OutputError("token ids", double.NaN, Bound)];
            }

            long[] state = SampleTokensInputs.StateOf(inputs.RandomStates, row).ToArray();
            RandomStream random = new(state);
            double drawn = inputs.Options[row].Temperature != 0 ? random.NextDouble() : 0.5;
            double[] probabilities = SampleTokensOracle.Run(inputs.LogitsOf(row), inputs.CountsOf(row), inputs.Options[row]);
            double before = probabilities.Take(chosen).Sum(), after = before + probabilities[chosen];

            // A token that filters have taken out has no share to be near to.
            double error = probabilities[chosen] > 0 ? Math.Max(0, Math.Max(before - drawn, drawn - after)) : double.NaN;
            draw = OutputError.Worse(draw, new OutputError("token ids", error, Bound));

            random.CopyStateTo(state);
            wrongStates += SampleTokensInputs.StateOf(actual.RandomStates, row).SequenceEqual(state) ? 0 : 1;
            int[] counts = inputs.CountsOf(row).ToArray();
            counts[chosen] += inputs.AreCounted ? 1 : 0;
            wrongCounts += actual.Counts.AsSpan(row * inputs.Vocabulary, inputs.Vocabulary).SequenceEqual(counts) ? 0 : 1;
        }

        OutputError logProbabilities = LogProbabilitiesValidation.Compare(inputs.Logits, actual.TokenIds, actual.LogProbabilities)[0];
        return
        [
            draw,
            logProbabilities with { Output = "log-probabilities" },
            new OutputError("rows of counts", wrongCounts, 0),
            new OutputError("rows of random states", wrongStates, 0),
        ];
    }
}
