using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Runs embeddings and gathers on a backend, guard words around every operand.</summary>
public static class RowRunner
{
    /// <summary>Looks up the chosen rows as tokens of an embedding table.</summary>
    public static float[] Embed(Backend backend, RowInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        using GuardedMatrix weight = Table(backend, inputs, gap);
        using GuardedMatrix tokens = GuardedMatrix.Input(backend, inputs.Chosen.Length, 1, inputs.Chosen, gap);
        using GuardedMatrix output = GuardedMatrix.Output(backend, DataType.Float32, inputs.Chosen.Length, inputs.Columns, gap: gap);
        backend.EmbeddingForward(new EmbeddingForwardArgs { TokenIds = tokens.View, Weight = weight.View, Output = output.View });
        output.AssertGuardsIntact("output");
        weight.AssertUnchanged("weight");
        tokens.AssertUnchanged("token ids");
        return output.Values();
    }

    /// <summary>Copies the chosen rows.</summary>
    public static float[] Gather(Backend backend, RowInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        using GuardedMatrix source = Table(backend, inputs, gap);
        using GuardedMatrix indices = GuardedMatrix.Input(backend, inputs.Chosen.Length, 1, inputs.Chosen);
        using GuardedMatrix destination = GuardedMatrix.Output(backend, inputs.Type, inputs.Chosen.Length, inputs.Columns, gap: gap);
        backend.GatherRows(new GatherRowsArgs { Source = source.View, Indices = indices.View, Destination = destination.View });
        destination.AssertGuardsIntact("destination");
        source.AssertUnchanged("source");
        indices.AssertUnchanged("indices");
        return destination.Values();
    }

    private static GuardedMatrix Table(Backend backend, RowInputs inputs, int gap) =>
        GuardedMatrix.Input(backend, inputs.Type, inputs.Table.Length / inputs.Columns, inputs.Columns, inputs.Table, gap);
}
