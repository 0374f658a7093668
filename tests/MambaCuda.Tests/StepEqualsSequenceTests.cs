using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>On the CPU.</summary>
public sealed class CpuStepEqualsSequenceTests() : StepEqualsSequenceTests(ModelBackends.Open("cpu"));

/// <summary>On CUDA, in float32, where each sequence is to have what it has alone.</summary>
public sealed class CudaStepEqualsSequenceTests() : StepEqualsSequenceTests(
    ModelBackends.OpenCuda(new CudaBackendOptions { ActivationType = DataType.Float32, BatchInvariant = true }));

/// <summary>However a sequence is cut, and whatever stands beside it, its logits are the same.</summary>
public abstract class StepEqualsSequenceTests : IDisposable
{
    private const int Length = 300;
    private const double Bound = 2e-5;

    private readonly Backend _backend;
    private readonly RandomWeights _weights = new(TinyModel.Config, DataType.Float32, seed: 5);
    private readonly MambaModel _model;
    private readonly int[] _ids;

    protected StepEqualsSequenceTests(Backend backend)
    {
        _backend = backend;
        _model = MambaModel.Create(TinyModel.Config, _weights.Tensors, _backend);
        _ids = TinyModel.RandomIds(Length, seed: 1);
    }

    [Fact]
    public void Token_by_token_equals_the_whole_sequence()
    {
        float[] expected = Whole(_ids);
        float[] actual = new float[expected.Length];
        using MambaState state = _model.CreateState();
        SequenceLayout one = SequenceLayout.Uniform(1, 1);
        for (int t = 0; t < Length; t++)
        {
            _model.Forward(_ids.AsSpan(t, 1), one, state, Row(actual, t));
        }

        AssertClose(actual, expected);
        Assert.Equal(Length, state.TokenCount());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Random_chunks_with_snapshots_between_equal_the_whole_sequence(int seed)
    {
        float[] expected = Whole(_ids);
        float[] actual = new float[expected.Length];
        Random random = new(seed);
        MambaState state = _model.CreateState();
        for (int t = 0; t < Length;)
        {
            int count = Math.Min(random.Next(1, 40), Length - t);
            _model.Forward(_ids.AsSpan(t, count), SequenceLayout.Uniform(1, count), state, Rows(actual, t, count), every: true);
            t += count;

            byte[] snapshot = state.Snapshot();
            state.Dispose();
            state = _model.CreateState();
            state.Restore(snapshot);
            Assert.Equal(t, state.TokenCount());
        }

        state.Dispose();
        AssertClose(actual, expected);
    }

    [Fact]
    public void Sequences_longer_than_a_chunk_run_in_pieces_of_bounded_memory()
    {
        Assert.SkipWhen(_backend.Name == "cuda" && HostDevice.IsInUse, "Chunks of a GPU are too long for the host device.");
        int length = (2 * _model.ChunkTokens) + 17;
        int[] ids = TinyModel.RandomIds(length, seed: 9);
        float[] whole = new float[length * TinyModel.Config.VocabularySize];
        using MambaState state = _model.CreateState();
        _model.Forward(ids, SequenceLayout.Uniform(1, length), state, whole, every: true);

        float[] last = new float[TinyModel.Config.VocabularySize];
        using MambaState second = _model.CreateState();
        _model.Forward(ids.AsSpan(0, 700), SequenceLayout.Uniform(1, 700), second, []);
        _model.Forward(ids.AsSpan(700), SequenceLayout.Uniform(1, length - 700), second, last);
        AssertClose(last, Row(whole, length - 1));
    }

    [Fact]
    public void A_packed_batch_gives_each_sequence_what_it_gives_alone()
    {
        int[] lengths = [1, 600, 3, 129, 2];
        int[] slots = [4, 0, 3, 1, 2];
        int[][] sequences = [.. lengths.Select((length, i) => TinyModel.RandomIds(length, seed: 20 + i))];
        int vocabulary = TinyModel.Config.VocabularySize;
        float[] every = new float[lengths.Sum() * vocabulary];
        float[] last = new float[lengths.Length * vocabulary];
        int[] packed = [.. sequences.SelectMany(ids => ids)];
        SequenceLayout layout = SequenceLayout.Packed(lengths, slots);
        using MambaState state = _model.CreateState(5), second = _model.CreateState(5);
        _model.Forward(packed, layout, state, every, every: true);
        _model.Forward(packed, layout, second, last);

        int start = 0;
        for (int i = 0; i < lengths.Length; i++)
        {
            using MambaState alone = _model.CreateState();
            float[] expected = new float[lengths[i] * vocabulary];
            _model.Forward(sequences[i], SequenceLayout.Uniform(1, lengths[i]), alone, expected, every: true);
            Assert.Equal(expected, Rows(every, start, lengths[i]).ToArray());
            Assert.Equal(Row(expected, lengths[i] - 1).ToArray(), Row(last, i).ToArray());

            // Snapshots hold token count and values, so equal bytes are equal states.
            Assert.Equal(alone.Snapshot(), state.Snapshot(slots[i]));
            start += lengths[i];
        }
    }

    [Fact]
    public void Scores_are_the_logarithms_of_softmax_of_the_logits()
    {
        float[] logits = Whole(_ids);
        int[] targets = TinyModel.RandomIds(Length, seed: 77);
        float[] scores = new float[Length], expected = new float[Length];
        using MambaState state = _model.CreateState();
        _model.Score(_ids, targets, SequenceLayout.Uniform(1, Length), state, scores);
        for (int t = 0; t < Length; t++)
        {
            double sum = 0;
            foreach (float logit in Row(logits, t))
            {
                sum += Math.Exp(logit);
            }

            expected[t] = (float)(Row(logits, t)[targets[t]] - Math.Log(sum));
        }

        AssertClose(scores, expected);
    }

    [Fact]
    public void A_step_allocates_nothing()
    {
        using MambaState state = _model.CreateState();
        SequenceLayout one = SequenceLayout.Uniform(1, 1);
        float[] logits = new float[TinyModel.Config.VocabularySize];
        for (int i = 0; i < 50; i++)
        {
            _model.Forward([i % 7], one, state, logits);
        }

        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 100; i++)
            {
                _model.Forward([i % 7], one, state, logits);
            }
        }));
    }

    [Fact]
    public void Bad_arguments_are_named()
    {
        using MambaState state = _model.CreateState();
        float[] logits = new float[TinyModel.Config.VocabularySize];
        ArgumentException outside =
            Assert.Throws<ArgumentException>(() => _model.Forward([1, 999], SequenceLayout.Uniform(1, 2), state, logits));
        Assert.Contains("999", outside.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => _model.Forward([1], SequenceLayout.Uniform(1, 2), state, logits));
        Assert.Throws<ArgumentException>(() => _model.Forward([1, 1], SequenceLayout.Uniform(2, 1), state, new float[2 * logits.Length]));
        Assert.Throws<ArgumentException>(() => _model.Forward([1], SequenceLayout.Uniform(1, 1), state, new float[3]));
        Assert.Equal(0, state.TokenCount());
    }

    public void Dispose()
    {
        _model.Dispose();
        _weights.Dispose();
        _backend.Dispose();
        GC.SuppressFinalize(this);
    }

    private static Span<float> Row(float[] logits, int row) => Rows(logits, row, 1);

    private static Span<float> Rows(float[] logits, int row, int count) =>
        logits.AsSpan(row * TinyModel.Config.VocabularySize, count * TinyModel.Config.VocabularySize);

    private static void AssertClose(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        double error = Deviation.RelativeNorm(actual, expected);
        Assert.True(error <= Bound, $"relative norm {error:g3}, bound {Bound:g3}");
    }

    private float[] Whole(int[] ids)
    {
        float[] logits = new float[ids.Length * TinyModel.Config.VocabularySize];
        using MambaState state = _model.CreateState();
        _model.Forward(ids, SequenceLayout.Uniform(1, ids.Length), state, logits, every: true);
        return logits;
    }
}
