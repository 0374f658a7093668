using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>The operation that samples on the device against the sampler on the host: the same tokens from the same seed.</summary>
public sealed class SamplerOnDeviceTests
{
    private const int Vocabulary = 500;
    private const int Steps = 50;

    private static readonly SamplingOptions[] Rows =
    [
        new() { Seed = 1 },
        SamplingOptions.Greedy with { RepetitionPenalty = 1.5f, FrequencyPenalty = 0.4f, Seed = 2 },
        new() { Temperature = 0.7f, TopK = 40, Seed = 3 },
        new() { TopP = 0.8f, Seed = 4 },
        new() { MinP = 0.02f, Temperature = 1.5f, Seed = 5 },
        new()
        {
            TopK = 100,
            TopP = 0.95f,
            MinP = 0.01f,
            RepetitionPenalty = 1.2f,
            PresencePenalty = 0.3f,
            FrequencyPenalty = 0.1f,
            Seed = 6,
        },
    ];

    [Theory, InlineData("cpu"), InlineData("cuda-float32")]
    public void The_same_seed_gives_the_same_tokens(string name)
    {
        using Backend backend = ModelBackends.Open(name);
        using DeviceBuffer memory = backend.Allocate(1 << 20);
        long used = 0;
        MatrixView New(DataType type, int columns)
        {
            MatrixView view = memory.Matrix(type, Rows.Length, columns, used);
            used += ((Rows.Length * columns * type.Size()) + 255) / 256 * 256;
            return view;
        }

        SampleTokensArgs args = new()
        {
            Logits = New(DataType.Float32, Vocabulary),
            Options = New(DataType.Float32, TokenSampling.Columns),
            Counts = New(DataType.Int32, Vocabulary),
            RandomStates = New(DataType.Int64, RandomStream.StateLength),
            TokenIds = New(DataType.Int32, 1),
            LogProbabilities = New(DataType.Float32, 1),
        };
        float[] columns = new float[Rows.Length * TokenSampling.Columns];
        long[] states = new long[Rows.Length * RandomStream.StateLength];
        for (int row = 0; row < Rows.Length; row++)
        {
            SamplingOptions options = Rows[row];
            new TokenSampling
            {
                Temperature = options.Temperature,
                TopK = options.TopK,
                TopP = options.TopP,
                MinP = options.MinP,
                RepetitionPenalty = options.RepetitionPenalty,
                PresencePenalty = options.PresencePenalty,
                FrequencyPenalty = options.FrequencyPenalty,
            }.CopyTo(columns.AsSpan(row * TokenSampling.Columns, TokenSampling.Columns));
            new RandomStream(options.Seed!.Value).CopyStateTo(states.AsSpan(row * RandomStream.StateLength, RandomStream.StateLength));
        }

        backend.Upload<float>(columns, args.Options);
        backend.Upload<long>(states, args.RandomStates);
        Sampler[] samplers = [.. Rows.Select(options => new Sampler(options, Vocabulary))];
        Random random = new(7);
        float[] logits = new float[Rows.Length * Vocabulary];
        int[] tokens = new int[Rows.Length];
        float[] logProbabilities = new float[Rows.Length];
        for (int step = 0; step < Steps; step++)
        {
            for (int i = 0; i < logits.Length; i++)
            {
                logits[i] = (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 6);
            }

            backend.Upload<float>(logits, args.Logits);
            backend.SampleTokens(args);
            backend.Download(args.TokenIds, tokens.AsSpan());
            backend.Download(args.LogProbabilities, logProbabilities.AsSpan());
            for (int row = 0; row < Rows.Length; row++)
            {
                SampledToken expected = samplers[row].Sample(logits.AsSpan(row * Vocabulary, Vocabulary));
                Assert.True(expected.Id == tokens[row], $"Step {step}, {Rows[row]}: {tokens[row]} instead of {expected.Id}.");
                Assert.Equal(expected.LogProbability, logProbabilities[row], 1e-5f);
            }
        }
    }
}
