using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Runs attention on a backend, guard words around every operand.</summary>
public static class AttentionRunner
{
    /// <summary>Runs the forward pass, in one of the ways that CUDA has where one is asked for by its name.</summary>
    public static AttentionResult<float> Run(
        Backend backend, AttentionInputs inputs, int gap = GuardedMatrix.UsualGap, bool withLogSumExp = true, string? variant = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(inputs);
        using GuardedMatrix q = Input(backend, inputs, inputs.Q, gap), k = Input(backend, inputs, inputs.K, gap);
        using GuardedMatrix v = Input(backend, inputs, inputs.V, gap);
        using GuardedMatrix y = GuardedMatrix.Output(backend, backend.ActivationType, inputs.Tokens, inputs.Columns, gap: gap);
        using GuardedMatrix? logSumExp = withLogSumExp
            ? GuardedMatrix.Output(backend, DataType.Float32, inputs.Heads, inputs.Tokens, gap: gap) : null;
        AttentionForwardArgs args = new()
        {
            Q = q.View,
            K = k.View,
            V = v.View,
            Heads = inputs.Heads,
            Scale = inputs.Scale,
            Sequences = SequenceLayout.Packed(inputs.Lengths),
            Y = y.View,
            LogSumExp = logSumExp?.View ?? default,
        };
        if (variant is null)
        {
            backend.AttentionForward(args);
        }
        else
        {
            CudaBackend cuda = (CudaBackend)backend;
            cuda.AttentionForward(args, cuda.AttentionVariants(args).Single(each => each.ToString() == variant));
        }

        AssertInputs(q, k, v);
        y.AssertGuardsIntact("y");
        logSumExp?.AssertGuardsIntact("log-sum-exp");
        return new AttentionResult<float>(y.Values(), logSumExp?.Values() ?? []);
    }

    /// <summary>
    /// Runs the backward pass on the results of the forward pass as the backend holds them, in one of the ways that CUDA has where one is
    /// asked for by its name.
    /// </summary>
    public static AttentionGradients<float> RunBackward(
        Backend backend,
        AttentionInputs inputs,
        AttentionResult<float> results,
        float[] gradY,
        int gap = GuardedMatrix.UsualGap,
        string? variant = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(results);
        using GuardedMatrix q = Input(backend, inputs, inputs.Q, gap), k = Input(backend, inputs, inputs.K, gap);
        using GuardedMatrix v = Input(backend, inputs, inputs.V, gap);
        using GuardedMatrix y = Input(backend, inputs, results.Y, gap), grad = Input(backend, inputs, gradY, gap);
        using GuardedMatrix logSumExp = GuardedMatrix.Input(backend, DataType.Float32, inputs.Heads, inputs.Tokens, results.LogSumExp, gap);
        GuardedMatrix Output() => GuardedMatrix.Output(backend, backend.ActivationType, inputs.Tokens, inputs.Columns, gap: gap);
        using GuardedMatrix gradQ = Output(), gradK = Output(), gradV = Output();
        AttentionBackwardArgs args = new()
        {
            Forward = new AttentionForwardArgs
            {
                Q = q.View,
                K = k.View,
                V = v.View,
                Heads = inputs.Heads,
                Scale = inputs.Scale,
                Sequences = SequenceLayout.Packed(inputs.Lengths),
                Y = y.View,
                LogSumExp = logSumExp.View,
            },
            GradY = grad.View,
            GradQ = gradQ.View,
            GradK = gradK.View,
            GradV = gradV.View,
        };
        if (variant is null)
        {
            backend.AttentionBackward(args);
        }
        else
        {
            CudaBackend cuda = (CudaBackend)backend;
            cuda.AttentionBackward(args, cuda.AttentionVariants(args).Single(each => each.ToString() == variant));
        }

        AssertInputs(q, k, v);
        y.AssertUnchanged("y");
        logSumExp.AssertUnchanged("log-sum-exp");
        grad.AssertUnchanged("gradient of y");
        gradQ.AssertGuardsIntact("gradient of q");
        gradK.AssertGuardsIntact("gradient of k");
        gradV.AssertGuardsIntact("gradient of v");
        return new AttentionGradients<float>(gradQ.Values(), gradK.Values(), gradV.Values());
    }

    /// <summary>
    /// Runs the last token of each sequence against a cache of those before it, which has a few rows more than the longest needs; what the
    /// cache must hold afterwards is checked to the bit.
    /// </summary>
    public static float[] RunDecode(Backend backend, AttentionInputs inputs, int gap = GuardedMatrix.UsualGap, int moreRows = 3)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(inputs);
        int sequences = inputs.Lengths.Length, capacity = inputs.Lengths.Max() + moreRows;
        AttentionInputs last = inputs.Parts(sequence => (inputs.Lengths[sequence] - 1, inputs.Lengths[sequence]));
        using GuardedMatrix q = Input(backend, last, last.Q, gap), k = Input(backend, last, last.K, gap), v = Input(backend, last, last.V, gap);
        using GuardedMatrix lengths = GuardedMatrix.Input(backend, sequences, 1, [.. inputs.Lengths.Select(length => length - 1)], gap);
        GuardedMatrix Cache(float[] values) => GuardedMatrix.Output(
            backend, backend.ActivationType, sequences * capacity, inputs.Columns, Cached(inputs, values, capacity, withLast: false), gap);
        using GuardedMatrix keys = Cache(inputs.K), caches = Cache(inputs.V);
        using GuardedMatrix y = GuardedMatrix.Output(backend, backend.ActivationType, sequences, inputs.Columns, gap: gap);
        backend.AttentionDecode(new AttentionDecodeArgs
        {
            Q = q.View,
            K = k.View,
            V = v.View,
            Heads = inputs.Heads,
            Scale = inputs.Scale,
            KeyCache = keys.View,
            ValueCache = caches.View,
            Lengths = lengths.View,
            Y = y.View,
        });
        AssertInputs(q, k, v);
        lengths.AssertUnchanged("lengths");
        y.AssertGuardsIntact("y");
        foreach ((string name, GuardedMatrix cache, float[] values) in new[] { ("key cache", keys, inputs.K), ("value cache", caches, inputs.V) })
        {
            cache.AssertGuardsIntact(name);
            OutputError error = OutputError.Exactly(name, Cached(inputs, values, capacity, withLast: true), cache.Values());
            if (!error.IsWithin)
            {
                throw new GuardException($"The {error}.");
            }
        }

        return y.Values();
    }

    /// <summary>A cache of rows with NaN where no token is.</summary>
    private static float[] Cached(AttentionInputs inputs, float[] values, int capacity, bool withLast)
    {
        float[] cache = [.. Enumerable.Repeat(float.NaN, inputs.Lengths.Length * capacity * inputs.Columns)];
        int row = 0;
        for (int sequence = 0; sequence < inputs.Lengths.Length; row += inputs.Lengths[sequence++])
        {
            int rows = inputs.Lengths[sequence] - (withLast ? 0 : 1);
            Array.Copy(values, row * inputs.Columns, cache, sequence * capacity * inputs.Columns, rows * inputs.Columns);
        }

        return cache;
    }

    private static GuardedMatrix Input(Backend backend, AttentionInputs inputs, float[] values, int gap) =>
        GuardedMatrix.Input(backend, backend.ActivationType, inputs.Tokens, inputs.Columns, values, gap);

    private static void AssertInputs(GuardedMatrix q, GuardedMatrix k, GuardedMatrix v)
    {
        q.AssertUnchanged("q");
        k.AssertUnchanged("k");
        v.AssertUnchanged("v");
    }
}
