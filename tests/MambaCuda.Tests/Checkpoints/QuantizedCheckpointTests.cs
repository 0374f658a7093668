using System.Runtime.InteropServices;
using System.Text;
using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Quantized checkpoints: what they hold, how near to the original they stay, and what is refused.</summary>
public sealed class QuantizedCheckpointTests : IDisposable
{
    private static readonly string ModelFolder = Path.Combine(Fixtures.RepositoryRoot, "src", "MambaCuda.Cli", "DefaultModel");
    private static readonly string TextFile = Path.Combine(Fixtures.RepositoryRoot, "tests", "MambaCuda.Tests", "Data", "heldout-sample.txt");
    private static readonly QuantizationConfig Int8 = new(QuantizedType.Int8, 64);
    private static readonly QuantizationConfig Int4 = new(QuantizedType.Int4, 32);

    private readonly TemporaryFolder _folder = new();

    private string Original => _folder.File("original");

    private string Quantized => _folder.File("quantized");

    public static TheoryData<string, QuantizedType, bool> Models
    {
        get
        {
            TheoryData<string, QuantizedType, bool> data = [];
            foreach (string backend in ModelBackends.Names)
            {
                data.Add(backend, QuantizedType.Int8, true);
                data.Add(backend, QuantizedType.Int4, false);
            }

            return data;
        }
    }

    [Theory, InlineData(QuantizedType.Int8, true), InlineData(QuantizedType.Int4, true), InlineData(QuantizedType.Int4, false)]
    public void Projections_and_head_are_numbers_and_scales_and_all_else_stays(QuantizedType type, bool tied)
    {
        QuantizationConfig quantization = type == QuantizedType.Int8 ? Int8 : Int4;
        Make(quantization, tied, new CheckpointSaveOptions { LargestShard = 20_000 });
        using Checkpoint before = Checkpoint.Open(Original), after = Checkpoint.Open(Quantized);
        Assert.True(File.Exists(Path.Combine(Quantized, "model.safetensors.index.json")));
        Assert.Equal(quantization, after.Config.Quantization);
        Assert.Equal(before.Config with { Quantization = quantization }, after.Config);
        Assert.NotEqual(before.Config, after.Config);
        Assert.Equal(after.Config.StoredTensors().Select(tensor => tensor.Name).Order(), after.Tensors.Keys.Order());
        int count = (4 * before.Config.LayerCount) + 1;
        Assert.Equal(count, after.Tensors.Values.Count(tensor => tensor.Type == QuantizedLayout.StoredTypeOf(type)));
        Assert.Equal(count, after.Tensors.Values.Count(tensor => tensor.Name.EndsWith("_scale", StringComparison.Ordinal)));
        foreach (ExpectedTensor expected in before.Config.Tensors().Where(tensor => !TensorNames.IsMultiplied(tensor.Name)))
        {
            Assert.Equal(TinyCheckpoint.Bytes(before[expected.Name]), TinyCheckpoint.Bytes(after[expected.Name]));
        }

        double worst = type == QuantizedType.Int8 ? 0.01 : 0.12;
        foreach (ExpectedTensor expected in before.Config.Tensors().Where(tensor => TensorNames.IsMultiplied(tensor.Name)))
        {
            float[] weights = Weights(after, expected.Name, (int)expected.Shape[1]);
            double deviation = Deviation.RelativeNorm(weights, TinyCheckpoint.Values(before[expected.Name]));
            Assert.True(deviation <= worst, $"{expected} deviates by {deviation:g3}.");
        }
    }

    /// <summary>
    /// The same logits as from a float32 checkpoint of the weights that the numbers and scales stand for: on the CPU to the last bit, for
    /// whole sequences and single tokens.
    /// </summary>
    [Theory, MemberData(nameof(Models))]
    public void A_model_computes_with_just_what_is_stored(string backendName, QuantizedType type, bool tied)
    {
        using Backend backend = ModelBackends.Open(backendName);
        Make(type == QuantizedType.Int8 ? Int8 : Int4, tied);
        string floats = _folder.File("floats");
        WriteFloats(floats);
        using MambaModel model = Load(Quantized, backend), expected = Load(floats, backend);
        Assert.NotEqual(expected.Fingerprint.ToArray(), model.Fingerprint.ToArray());
        Assert.Equal(expected.ParameterCount - (tied ? 24 * 16 : 0), model.ParameterCount);
        int[] ids = [.. Enumerable.Range(0, 40).Select(i => i * 7 % 24)];
        double bound = backendName == "cpu" ? 0 : backend.ActivationType == DataType.Float32 ? 1e-5 : 3e-2;
        foreach (int length in new[] { 40, 1 })
        {
            float[] logits = Logits(model, ids[..length]), others = Logits(expected, ids[..length]);
            double deviation = Deviation.RelativeNorm(logits, others);
            Assert.True(deviation <= bound, $"The logits of {length} tokens deviate by {deviation:g3}.");
        }
    }

    /// <summary>On a piece of the text that the bundled model has never seen, by its perplexity and the distribution of each next byte.</summary>
    [Theory]
    [InlineData(QuantizedType.Int8, 128, 0.001, 1e-3)]
    [InlineData(QuantizedType.Int8, 64, 0.001, 1e-3)]
    [InlineData(QuantizedType.Int4, 32, 0.03, 0.05)]
    public void The_bundled_model_stays_near_the_original(QuantizedType type, int groupSize, double worst, double mostDivergence)
    {
        const int Tokens = 6000, Vocabulary = 256;
        CheckpointConverter.Convert(
            ModelFolder, Quantized, quantization: new(type, groupSize), cancellationToken: TestContext.Current.CancellationToken);
        int[] ids = [.. File.ReadAllBytes(TextFile).Take(Tokens + 1).Select(value => (int)value)];
        using CpuBackend backend = new();
        using MambaModel original = Load(ModelFolder, backend), quantized = Load(Quantized, backend);
        double[] expected = LogProbabilities(Logits(original, ids[..Tokens])), actual = LogProbabilities(Logits(quantized, ids[..Tokens]));
        double divergence = expected.Zip(actual, (p, q) => Math.Exp(p) * (p - q)).Sum() / Tokens;
        double ratio = Math.Exp((Loss(actual) - Loss(expected)) / Tokens);
        Assert.True(Math.Abs(ratio - 1) <= worst, $"The perplexity is {ratio:f5} times the original's.");
        Assert.True(divergence >= 0 && divergence <= mostDivergence, $"The divergence is {divergence:g3}.");

        double Loss(double[] logProbabilities) => -Enumerable.Range(0, Tokens).Sum(i => logProbabilities[(i * Vocabulary) + ids[i + 1]]);

        static double[] LogProbabilities(float[] logits) => [.. logits.Chunk(Vocabulary).SelectMany(row =>
        {
            double greatest = row.Max(), sum = Math.Log(row.Sum(logit => Math.Exp(logit - greatest))) + greatest;
            return row.Select(logit => logit - sum);
        })];
    }

    [Theory]
    [InlineData("\"quant_method\":\"mamba-cuda\"", "\"quant_method\":\"gptq\"", "quantization_config.quant_method is 'gptq'")]
    [InlineData("\"quant_method\":\"mamba-cuda\",", "", "quantization_config.quant_method is ''")]
    [InlineData("\"version\":1", "\"version\":2", "quantization_config.version is 2")]
    [InlineData("\"version\":1,", "", "lacks quantization_config.version")]
    [InlineData("\"bits\":4", "\"bits\":3", "quantization_config.bits is 3, but must be 8 or 4")]
    [InlineData("\"group_size\":32", "\"group_size\":48", "quantization_config.group_size is 48, but with 4 bits must be 32 or 64 or 128")]
    [InlineData("\"symmetric\":true", "\"symmetric\":false", "quantization_config.symmetric is false")]
    [InlineData("\"bfloat16\"}", "\"float32\"}", "quantization_config.scale_dtype is 'float32'")]
    [InlineData("\"symmetric\":true", "\"symmetric\":true,\"desc_act\":true", "has unknown fields: 'quantization_config.desc_act'")]
    public void A_configuration_that_is_not_understood_is_refused_by_name(string good, string bad, string expected)
    {
        const string Config = """
            {"model_type":"mamba","hidden_size":16,"vocab_size":24,"quantization_config":{"quant_method":"mamba-cuda","version":1,"bits":4,
            "group_size":32,"symmetric":true,"scale_dtype":"bfloat16"}}
            """;
        Assert.Equal(Int4, MambaConfig.Parse(Encoding.UTF8.GetBytes(Config), "config.json").Quantization);
        byte[] changed = Encoding.UTF8.GetBytes(Config.Replace(good, bad, StringComparison.Ordinal));
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => MambaConfig.Parse(changed, "config.json"));
        Assert.Contains(expected, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no scales", "'backbone.layers.1.mixer.x_proj.weight_scale' [9, 1] is missing")]
    [InlineData("scale shape", "'backbone.layers.1.mixer.x_proj.weight_scale' is [9, 2], expected [9, 1]")]
    [InlineData("scale type", "'backbone.layers.1.mixer.x_proj.weight_scale' is Float16, but must be BFloat16")]
    [InlineData("number shape", "'backbone.layers.1.mixer.x_proj.weight' is [9, 32], expected [9, 64]")]
    [InlineData("number type", "'backbone.layers.1.mixer.x_proj.weight' is Int8, but must be UInt8")]
    [InlineData("no config", "'lm_head.weight'")]
    public void Tensors_that_do_not_fit_are_named(string fault, string expected)
    {
        Make(Int4, tied: true);
        string config = Path.Combine(Quantized, "config.json");
        (string good, string bad) = fault switch
        {
            "no scales" => ("x_proj.weight_scale", "x_proj.weight_skale"),
            "scale shape" => ("x_proj.weight_scale\":{\"dtype\":\"BF16\",\"shape\":[9,1]", "x_proj.weight_scale\":{\"dtype\":\"U8\",\"shape\":[9,2]"),
            "scale type" => ("x_proj.weight_scale\":{\"dtype\":\"BF16\"", "x_proj.weight_scale\":{\"dtype\":\"F16\""),
            "number shape" => ("x_proj.weight\":{\"dtype\":\"U8\",\"shape\":[9,64]", "x_proj.weight\":{\"dtype\":\"I16\",\"shape\":[9,32]"),
            "number type" => ("x_proj.weight\":{\"dtype\":\"U8\"", "x_proj.weight\":{\"dtype\":\"I8\""),
            _ => ("", ""),
        };
        if (fault == "no config")
        {
            string text = File.ReadAllText(config);
            int start = text.IndexOf(",\n  \"quantization_config\"", StringComparison.Ordinal);
            File.WriteAllText(config, text[..start] + "\n}\n");
        }
        else
        {
            ReplaceInHeader(Path.Combine(Quantized, "model.safetensors"), "layers.1.mixer." + good, "layers.1.mixer." + bad);
        }

        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Checkpoint.Open(Quantized));
        Assert.Contains(expected, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_quantized_model_cannot_be_used_for_is_said_with_the_way_out()
    {
        Make(Int8, tied: true);
        CheckpointException again = Assert.Throws<CheckpointException>(
            () => CheckpointConverter.Convert(
                Quantized, _folder.File("again"), quantization: Int4, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Contains("quantized already (int8 in groups of 64)", again.Message, StringComparison.Ordinal);

        using CpuBackend backend = new();
        using Checkpoint checkpoint = Checkpoint.Open(Quantized);
        foreach (Action train in new Action[]
        {
            () => new TrainableModel(checkpoint.Config, checkpoint.Tensors, backend).Dispose(),
            () => new TrainableModel(checkpoint.Config, checkpoint.Tensors, backend, new LoraSettings { Rank = 2 }, seed: 1).Dispose(),
        })
        {
            CheckpointException refusal = Assert.Throws<CheckpointException>(train);
            Assert.Contains("Train the original checkpoint", refusal.Message, StringComparison.Ordinal);
        }

        LoraSettings settings = new() { Rank = 2 };
        string adapter = _folder.File("adapter");
        using NativeHostMemory zeros = new(1 << 16);
        LoraAdapter.Save(adapter, settings, checkpoint.Config, tensor => new StoredTensor(tensor.Name, DataType.Float32, tensor.Shape, zeros));
        using LoraAdapter opened = LoraAdapter.Open(adapter, checkpoint.Config);
        CheckpointException merge = Assert.Throws<CheckpointException>(() => new MergedWeights(checkpoint.Tensors, opened).Dispose());
        Assert.Contains("convert MODEL OUT --adapter ADAPTER --quantize TYPE", merge.Message, StringComparison.Ordinal);

        // Into the original it can be merged on the way.
        CheckpointConverter.Convert(
            Original, _folder.File("both"), adapter: adapter, quantization: Int8, cancellationToken: TestContext.Current.CancellationToken);
        using Checkpoint both = Checkpoint.Open(_folder.File("both"));
        Assert.All(both.Tensors.Values, tensor => Assert.Equal(TinyCheckpoint.Bytes(checkpoint[tensor.Name]), TinyCheckpoint.Bytes(tensor)));
    }

    [Fact]
    public void A_copy_of_a_quantized_checkpoint_has_its_numbers_and_other_types_where_there_are_floats()
    {
        Make(Int4, tied: false);
        string copy = _folder.File("copy");
        CheckpointConverter.Convert(
            Quantized, copy, new CheckpointSaveOptions { WeightType = DataType.BFloat16, LargestShard = 4000 },
            cancellationToken: TestContext.Current.CancellationToken);
        using Checkpoint before = Checkpoint.Open(Quantized), after = Checkpoint.Open(copy);
        Assert.Equal(before.Config, after.Config);
        foreach (ExpectedTensor expected in before.Config.StoredTensors())
        {
            bool isPart = expected.Type is not null;
            Assert.Equal(expected.Type ?? DataType.BFloat16, after[expected.Name].Type);
            Assert.True(!isPart || TinyCheckpoint.Bytes(before[expected.Name]).AsSpan().SequenceEqual(TinyCheckpoint.Bytes(after[expected.Name])));
        }
    }

    [Theory, InlineData(float.NaN), InlineData(float.PositiveInfinity)]
    public void A_weight_that_is_not_finite_is_not_quantized(float value)
    {
        using TinyCheckpoint tiny = new();
        ExpectedTensor expected = tiny.Config.Tensors().Single(tensor => tensor.Name == TensorNames.OutProjection(1));
        tiny.Set(expected, i => i == 17 ? value : 1);
        tiny.Write(Original);
        CheckpointException refusal = Assert.Throws<CheckpointException>(
            () => CheckpointConverter.Convert(Original, Quantized, quantization: Int4, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Contains($"{expected.Name}' Float32 [16, 32] holds a number that is not finite", refusal.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(Quantized, "config.json")));
    }

    [Fact]
    public void Scales_that_are_too_large_for_float16_are_refused_there_alone()
    {
        using TinyCheckpoint tiny = new();
        tiny.Set(tiny.Config.Tensors().Single(tensor => tensor.Name == TensorNames.InProjection(0)), i => i == 3 ? 1e6f : 1);
        tiny.Write(Original);
        CheckpointConverter.Convert(Original, Quantized, quantization: Int8, cancellationToken: TestContext.Current.CancellationToken);
        using Backend half = ModelBackends.Open("cuda-float16");
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Load(Quantized, half).Dispose());
        Assert.Contains("too large for Float16", refusal.Message, StringComparison.Ordinal);
        using CpuBackend backend = new();
        Load(Quantized, backend).Dispose();
    }

    [Fact]
    public void Random_weights_can_be_quantized_ones()
    {
        MambaConfig config = new() { VocabularySize = 50, HiddenSize = 32, LayerCount = 2, Quantization = Int4 };
        using CpuBackend backend = new();
        using RandomWeights weights = new(config, DataType.BFloat16, seed: 3);
        using RandomWeights floats = new(config with { Quantization = null }, DataType.BFloat16, seed: 3);
        using MambaModel model = MambaModel.Create(config, weights.Tensors, backend);
        Assert.All(Logits(model, [1, 2, 3]), logit => Assert.True(float.IsFinite(logit)));
        foreach (string name in new[] { TensorNames.InProjection(0), TensorNames.ScanProjection(1), TensorNames.OutProjection(1) })
        {
            float[] expected = TinyCheckpoint.Values(floats.Tensors[name]);
            float[] actual = Weights(name => weights.Tensors[name], Int4, name, (int)floats.Tensors[name].Shape[1]);
            double ratio = Math.Sqrt(actual.Average(value => (double)value * value) / expected.Average(value => (double)value * value));
            Assert.InRange(ratio, 0.9, 1.1);
        }

        ArgumentException refusal = Assert.Throws<ArgumentException>(() => MambaModel.Create(config, floats.Tensors, backend));
        Assert.Contains(TensorNames.InProjection(0), refusal.Message, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    private void Make(QuantizationConfig quantization, bool tied, CheckpointSaveOptions? options = null)
    {
        MambaConfig config = new() { VocabularySize = 24, HiddenSize = 16, LayerCount = 2, StateSize = 4, TieEmbeddings = tied };
        using TinyCheckpoint tiny = new(config);
        tiny.Write(Original);
        CheckpointConverter.Convert(
            Original, Quantized, options, quantization: quantization, cancellationToken: TestContext.Current.CancellationToken);
    }

    /// <summary>A float32 checkpoint of what the quantized one stands for.</summary>
    private void WriteFloats(string folder)
    {
        using Checkpoint quantized = Checkpoint.Open(Quantized);
        List<NativeHostMemory> memory = [];
        CheckpointWriter.Write(folder, quantized.Config with { Quantization = null, TieEmbeddings = false }, expected =>
        {
            if (!TensorNames.IsMultiplied(expected.Name))
            {
                return quantized[expected.Name];
            }

            memory.Add(new NativeHostMemory(expected.ElementCount * sizeof(float)));
            MemoryMarshal.AsBytes<float>(Weights(quantized, expected.Name, (int)expected.Shape[1])).CopyTo(Bytes(memory[^1]));
            return new StoredTensor(expected.Name, DataType.Float32, expected.Shape, memory[^1]);
        }, cancellationToken: TestContext.Current.CancellationToken);
        memory.ForEach(each => each.Dispose());

        static unsafe Span<byte> Bytes(NativeHostMemory memory) => new(memory.Pointer, (int)memory.ByteLength);
    }

    private static float[] Weights(Checkpoint checkpoint, string name, int columns) =>
        Weights(part => checkpoint[part], checkpoint.Config.Quantization!, name, columns);

    private static float[] Weights(Func<string, StoredTensor> tensor, QuantizationConfig quantization, string name, int columns)
    {
        QuantizedLayout layout = quantization.Layout(columns);
        byte[] numbers = TinyCheckpoint.Bytes(tensor(name));
        ushort[] scales = MemoryMarshal.Cast<byte, ushort>(TinyCheckpoint.Bytes(tensor(TensorNames.Scales(name)))).ToArray();
        float[] weights = new float[numbers.Length / layout.RowBytes * columns];
        for (int row = 0; row < weights.Length / columns; row++)
        {
            layout.Dequantize(
                numbers.AsSpan(row * layout.RowBytes, layout.RowBytes), scales.AsSpan(row * layout.Groups, layout.Groups),
                weights.AsSpan(row * columns, columns));
        }

        return weights;
    }

    private static MambaModel Load(string folder, Backend backend) =>
        MambaModel.Load(folder, backend, cancellation: TestContext.Current.CancellationToken);

    private static float[] Logits(MambaModel model, int[] ids)
    {
        using MambaState state = model.CreateState();
        float[] logits = new float[ids.Length * model.Config.VocabularySize];
        model.Forward(ids, SequenceLayout.Uniform(1, ids.Length), state, logits, every: true);
        return logits;
    }

    /// <summary>Changes the header of a safetensors file, whose spaces at the end make up for the length.</summary>
    private static void ReplaceInHeader(string path, string good, string bad)
    {
        byte[] file = File.ReadAllBytes(path);
        int length = (int)BitConverter.ToInt64(file);
        string header = Encoding.UTF8.GetString(file, 8, length);
        Assert.Contains(good, header, StringComparison.Ordinal);
        string changed = header.Replace(good, bad, StringComparison.Ordinal).TrimEnd().PadRight(length);
        Assert.Equal(length, changed.Length);
        Encoding.UTF8.GetBytes(changed).CopyTo(file, 8);
        File.WriteAllBytes(path, file);
    }
}
