using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Runs log-probabilities on a backend, guard words around every operand.</summary>
public static class LogProbabilitiesRunner
{
    /// <summary>Judges one token of each row of logits, (rows, vocabulary).</summary>
    public static float[] Run(Backend backend, float[] logits, int[] tokens, int gap = GuardedMatrix.UsualGap)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(tokens);
        int rows = tokens.Length, vocabulary = logits.Length / rows;
        using GuardedMatrix matrix = GuardedMatrix.Input(backend, DataType.Float32, rows, vocabulary, logits, gap);
        using GuardedMatrix ids = GuardedMatrix.Input(backend, rows, 1, tokens);
        using GuardedMatrix output = GuardedMatrix.Output(backend, DataType.Float32, rows, 1);
        backend.LogProbabilities(new LogProbabilitiesArgs { Logits = matrix.View, TokenIds = ids.View, Output = output.View });
        matrix.AssertUnchanged("logits");
        ids.AssertUnchanged("token ids");
        output.AssertGuardsIntact("output");
        return output.Values();
    }
}
