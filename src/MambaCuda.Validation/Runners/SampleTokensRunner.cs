using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>What came of choosing tokens.</summary>
/// <param name="TokenIds">The token of each row.</param>
/// <param name="LogProbabilities">What the model gave it.</param>
/// <param name="Counts">How many times each token was seen, the chosen one included; (rows, vocabulary).</param>
/// <param name="RandomStates">Where the random numbers stand now.</param>
public sealed record SampledTokens(int[] TokenIds, float[] LogProbabilities, int[] Counts, long[] RandomStates);

/// <summary>Samples tokens on a backend, guard words around every operand.</summary>
public static class SampleTokensRunner
{
    /// <summary>Chooses a token of each row.</summary>
    /// <param name="backend">What runs it.</param>
    /// <param name="inputs">The rows.</param>
    public static SampledTokens Run(Backend backend, SampleTokensInputs inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        int rows = inputs.Rows, vocabulary = inputs.Vocabulary;
        float[] options = new float[rows * TokenSampling.Columns];
        for (int row = 0; row < rows; row++)
        {
            inputs.Options[row].CopyTo(options.AsSpan(row * TokenSampling.Columns, TokenSampling.Columns));
        }

        using GuardedMatrix logits = GuardedMatrix.Input(backend, DataType.Float32, rows, vocabulary, inputs.Logits);
        using GuardedMatrix columns = GuardedMatrix.Input(backend, DataType.Float32, rows, TokenSampling.Columns, options);
        using GuardedMatrix counts = GuardedMatrix.Output(backend, DataType.Int32, rows, vocabulary, inputs.Counts);
        using GuardedMatrix states = GuardedMatrix.Output(backend, DataType.Int64, rows, RandomStream.StateLength, inputs.RandomStates);
        using GuardedMatrix tokens = GuardedMatrix.Output<int>(backend, DataType.Int32, rows, 1, null);
        using GuardedMatrix logProbabilities = GuardedMatrix.Output(backend, DataType.Float32, rows, 1);
        backend.SampleTokens(new SampleTokensArgs
        {
            Logits = logits.View,
            Options = columns.View,
            Counts = inputs.AreCounted ? counts.View : default,
            RandomStates = states.View,
            TokenIds = tokens.View,
            LogProbabilities = logProbabilities.View,
        });
        logits.AssertUnchanged("logits");
        columns.AssertUnchanged("options");
        counts.AssertGuardsIntact("counts");
        states.AssertGuardsIntact("random states");
        tokens.AssertGuardsIntact("token ids");
        logProbabilities.AssertGuardsIntact("log-probabilities");
        return new SampledTokens(tokens.Values<int>(), logProbabilities.Values(), counts.Values<int>(), states.Values<long>());
    }
}
