using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>
/// Bits of logits: the same in every run, and where <see cref="CudaBackendOptions.BatchInvariant"/> is set, whatever else is in the batch.
/// Through prompts and single tokens, by a model whose sizes the fast kernels take: state size 16, rows that are aligned.
/// </summary>
public sealed class BatchInvarianceTests
{
    private const int Steps = 3;

    private static readonly MambaConfig Config = new()
    {
        VocabularySize = 136,
        HiddenSize = 64,
        IntermediateSize = 128,
        StateSize = 16,
        LayerCount = 2,
        InitializerRange = 0.3,
        TimeStepRank = 8,
    };

    // From what a matrix-vector kernel takes to more than a tile, in an order that is not that of slots.
    private static readonly int[] Lengths = [1, 150, 2, 65, 16, 3, 40, 1, 1, 5, 2, 9];

    public static TheoryData<string> Backends => ModelBackends.Rows;

    [Theory, MemberData(nameof(Backends))]
    public void A_sequence_has_the_same_bits_alone_and_in_a_batch(string name)
    {
        using Backend backend = Open(name, batchInvariant: true);
        using RandomWeights weights = new(Config, DataType.Float32, seed: 3);
        using MambaModel model = MambaModel.Create(Config, weights.Tensors, backend);
        Outcome[] together = Run(model, Lengths, [.. Enumerable.Range(0, Lengths.Length).Reverse()], seed: 0);
        for (int i = 0; i < Lengths.Length; i++)
        {
            Outcome alone = Run(model, [Lengths[i]], [0], seed: i)[0];
            AssertSame(alone, together[i], $"alone, sequence {i} of {Lengths[i]} tokens");
        }

        Outcome[] few = Run(model, Lengths[1..4], [2, 0, 1], seed: 1);
        for (int i = 0; i < few.Length; i++)
        {
            AssertSame(few[i], together[i + 1], $"of three, sequence {i + 1}");
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_run_repeats_bit_for_bit(string name)
    {
        using RandomWeights weights = new(Config, DataType.Float32, seed: 3);
        Outcome[] Once(bool batchInvariant)
        {
            using Backend backend = Open(name, batchInvariant);
            using MambaModel model = MambaModel.Create(Config, weights.Tensors, backend);
            return Run(model, Lengths, [.. Enumerable.Range(0, Lengths.Length)], seed: 0);
        }

        foreach (bool batchInvariant in new[] { false, true })
        {
            Outcome[] expected = Once(batchInvariant), again = Once(batchInvariant);
            for (int i = 0; i < Lengths.Length; i++)
            {
                AssertSame(expected[i], again[i], $"again, sequence {i}");
            }
        }
    }

    private static Backend Open(string name, bool batchInvariant) => name == "cpu"
        ? ModelBackends.Open(name)
        : ModelBackends.OpenCuda(new CudaBackendOptions
        {
            ActivationType = name == "cuda-float32" ? DataType.Float32 : DataType.BFloat16,
            BatchInvariant = batchInvariant,
        });

    /// <summary>Prompts at once, then some tokens of each, one at a time; sequence i has the tokens of seed + i.</summary>
    private static Outcome[] Run(MambaModel model, int[] lengths, int[] slots, int seed)
    {
        int vocabulary = Config.VocabularySize, count = lengths.Length;
        int[][] ids = [.. lengths.Select((length, i) => Tokens(length + Steps, seed + i))];
        using MambaState state = model.CreateState(count);
        float[] every = new float[lengths.Sum() * vocabulary];
        int[] prompts = [.. ids.SelectMany((sequence, i) => sequence.Take(lengths[i]))];
        model.Forward(prompts, SequenceLayout.Packed(lengths, slots), state, every, every: true);
        List<float[]> steps = [];
        for (int step = 0; step < Steps; step++)
        {
            float[] last = new float[count * vocabulary];
            int[] next = [.. ids.Select((sequence, i) => sequence[lengths[i] + step])];
            model.Forward(next, SequenceLayout.Packed([.. Enumerable.Repeat(1, count)], slots), state, last);
            steps.Add(last);
        }

        Outcome[] outcomes = new Outcome[count];
        for (int i = 0, start = 0; i < count; start += lengths[i++])
        {
            int at = i;
            outcomes[i] = new Outcome(
                every[(start * vocabulary)..((start + lengths[i]) * vocabulary)],
                [.. steps.SelectMany(last => last[(at * vocabulary)..((at + 1) * vocabulary)])],
                state.Snapshot(slots[i]));
        }

        return outcomes;
    }

    private static int[] Tokens(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(Config.VocabularySize))];
    }

    private static void AssertSame(Outcome expected, Outcome actual, string what)
    {
        static int[] Bits(float[] values) => [.. values.Select(BitConverter.SingleToInt32Bits)];
        Assert.True(Bits(expected.Prompt).SequenceEqual(Bits(actual.Prompt)), $"The prompt's logits differ: {what}.");
        Assert.True(Bits(expected.Steps).SequenceEqual(Bits(actual.Steps)), $"The logits of single tokens differ: {what}.");
        Assert.True(expected.State.SequenceEqual(actual.State), $"The states differ: {what}.");
        Assert.All(actual.Steps, value => Assert.True(float.IsFinite(value)));
    }

    /// <summary>What a sequence came to.</summary>
    /// <param name="Prompt">The logits of every token of the prompt.</param>
    /// <param name="Steps">Those of the single tokens.</param>
    /// <param name="State">The state at the end.</param>
    private sealed record Outcome(float[] Prompt, float[] Steps, byte[] State);
}
