using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Every container of every golden model, on every backend, against the logits and the greedy text that PyTorch computed in float64.</summary>
public sealed class ModelFixtureTests
{
    private const double LogitsBound = 2e-4;
    private const double BFloat16Bound = 3e-2;

    public static TheoryData<string, string> Containers
    {
        get
        {
            TheoryData<string, string> data = [];
            foreach (string backend in ModelBackends.Names)
            {
                foreach (string container in Fixtures.ModelContainers())
                {
                    data.Add(backend, container);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Containers))]
    public void Logits_are_those_of_the_golden_file(string backendName, string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        GoldenFile expected = new(Path.Combine(Fixtures.PathOf(container), "..", "expected.safetensors"));
        using Backend backend = ModelBackends.Open(backendName);
        using MambaModel model = MambaModel.Load(Fixtures.PathOf(container), backend, cancellation: TestContext.Current.CancellationToken);
        string[] inputs = [.. expected.Names.Where(name => name.StartsWith("input_ids.", StringComparison.Ordinal))];
        Assert.NotEmpty(inputs);
        foreach (string input in inputs)
        {
            int[] ids = expected.Integers(input);
            int batch = (int)expected.Shape(input)[0], length = (int)expected.Shape(input)[1];
            float[] logits = new float[ids.Length * model.Config.VocabularySize];
            using MambaState state = model.CreateState(batch);
            model.Forward(ids, SequenceLayout.Uniform(batch, length), state, logits, every: true);

            float[] golden = expected.Floats(input.Replace("input_ids", "logits", StringComparison.Ordinal));
            if (IsFloat32(backend, container))
            {
                double error = Deviation.Largest(logits, golden);
                Assert.True(error <= LogitsBound, $"{input}: largest error {error:g3}, bound {LogitsBound:g3}.");
            }
            else
            {
                double error = Deviation.RelativeNorm(logits, golden);
                Assert.True(error <= BFloat16Bound, $"{input}: relative norm {error:g3}, bound {BFloat16Bound:g3}.");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Containers))]
    public void Greedy_text_is_that_of_the_golden_file(string backendName, string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        GoldenFile expected = new(Path.Combine(Fixtures.PathOf(container), "..", "expected.safetensors"));
        using Backend backend = ModelBackends.Open(backendName);
        Assert.SkipUnless(IsFloat32(backend, container), "The golden text was made in float32.");
        using MambaModel model = MambaModel.Load(Fixtures.PathOf(container), backend, cancellation: TestContext.Current.CancellationToken);
        int[] prompt = expected.Integers("prompt_ids"), greedy = expected.Integers("greedy_ids");
        Assert.Equal(prompt, greedy[..prompt.Length]);

        using MambaState state = model.CreateState();
        float[] logits = new float[model.Config.VocabularySize];
        model.Forward(prompt, SequenceLayout.Uniform(1, prompt.Length), state, logits);
        SequenceLayout one = SequenceLayout.Uniform(1, 1);
        List<int> ids = [.. prompt];
        while (ids.Count < greedy.Length)
        {
            int next = logits.AsSpan().IndexOf(logits.Max());
            ids.Add(next);
            model.Forward([next], one, state, logits);
        }

        Assert.Equal(greedy, ids);
    }

    private static bool IsFloat32(Backend backend, string container) =>
        backend.ActivationType == DataType.Float32 && !container.EndsWith("bf16", StringComparison.Ordinal);
}
