using System.Security.Cryptography;
using System.Text.Json;
using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>The model that comes with the command, on text that it has never seen.</summary>
public sealed class DefaultModelTests
{
    private static readonly string ModelFolder = Path.Combine(Fixtures.RepositoryRoot, "src", "MambaCuda.Cli", "DefaultModel");
    private static readonly string DataFolder = Path.Combine(Fixtures.RepositoryRoot, "tests", "MambaCuda.Tests", "Data");

    [Fact]
    public void Held_out_text_takes_the_bits_per_byte_that_float64_gives()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(Path.Combine(DataFolder, "heldout-sample.json")));
        byte[] text = File.ReadAllBytes(Path.Combine(DataFolder, golden.RootElement.GetProperty("text").GetString()!));
        Assert.Equal(golden.RootElement.GetProperty("bytes").GetInt32(), text.Length);
        string weights = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(ModelFolder, "model.safetensors"))));
        Assert.Equal(golden.RootElement.GetProperty("model_sha256").GetString(), weights);

        using CpuBackend backend = new();
        using MambaModel model = MambaModel.Load(ModelFolder, backend, cancellation: TestContext.Current.CancellationToken);
        using MambaState state = model.CreateState();
        int[] ids = [.. text.Select(value => (int)value)];
        float[] logProbabilities = new float[ids.Length - 1];
        model.Score(ids.AsSpan(0, ids.Length - 1), ids.AsSpan(1), SequenceLayout.Uniform(1, ids.Length - 1), state, logProbabilities);

        double expected = golden.RootElement.GetProperty("bits_per_byte").GetDouble();
        double actual = logProbabilities.Average(value => -(double)value) / Math.Log(2);
        Assert.True(Math.Abs(actual - expected) <= 1e-5, $"{actual:f7} bits per byte, float64 has {expected:f6}.");
    }
}
