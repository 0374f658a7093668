using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Adapters: their gradients, their files, and what they are merged to.</summary>
public sealed class LoraTests : IDisposable
{
    private static readonly SequenceLayout Sequences = SequenceLayout.Packed([19, 1, 13]);

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, Recomputation, double> Gradients
    {
        get
        {
            TheoryData<string, Recomputation, double> data = [];
            foreach (string backend in ModelBackends.Names)
            {
                data.Add(backend, Recomputation.Mixer, 4);
                data.Add(backend, Recomputation.Block, 3);
            }

            return data;
        }
    }

    private static LoraSettings Settings { get; } = new() { Rank = 3, Alpha = 4, Targets = LoraSettings.Projections };

    public void Dispose() => _folder.Dispose();

    /// <summary>
    /// W + s B A has the gradient dW, so that dB = s dW A^T and dA = s B^T dW: the whole model's backward pass is the oracle. An alpha of
    /// the rank needs no scale.
    /// </summary>
    [Theory]
    [MemberData(nameof(Gradients))]
    public void Gradients_are_those_of_the_merged_weights(string backendName, Recomputation recomputation, double alpha)
    {
        LoraSettings settings = Settings with { Alpha = alpha };
        using Backend backend = ModelBackends.Open(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 5);
        using LoraAdapter adapter = RandomAdapter(settings);
        using MergedWeights merged = new(weights.Tensors, adapter);
        using TrainableModel whole = new(TinyModel.Config, merged.Tensors, backend, recomputation);
        using TrainableModel frozen = new(TinyModel.Config, weights.Tensors, backend, settings, seed: 1, recomputation);
        frozen.Parameters.Load(adapter.Tensors);
        double expectedLoss = Pass(whole), loss = Pass(frozen);
        double bound = backend.ActivationType == DataType.Float32 ? 1e-4 : 4e-2;
        Assert.True(Math.Abs(loss - expectedLoss) <= bound * expectedLoss, $"The loss is {loss}, not {expectedLoss}.");
        for (int layer = 0; layer < TinyModel.Config.LayerCount; layer++)
        {
            foreach (string target in settings.Targets)
            {
                StoredTensor a = adapter.Tensors[TensorNames.LoraA(layer, target)], b = adapter.Tensors[TensorNames.LoraB(layer, target)];
                int rank = settings.Rank, outputs = (int)b.Shape[0], inputs = (int)a.Shape[1];
                float[] gradient = Gradient(whole, TensorNames.Projection(layer, target), outputs, inputs);
                float[] narrow = TinyCheckpoint.Values(a), wide = TinyCheckpoint.Values(b);
                Compare(
                    TensorNames.LoraA(layer, target), rank, inputs,
                    (k, i) => Sum(outputs, o => (double)wide[(o * rank) + k] * gradient[(o * inputs) + i]));
                Compare(
                    TensorNames.LoraB(layer, target), outputs, rank,
                    (o, k) => Sum(inputs, i => (double)gradient[(o * inputs) + i] * narrow[(k * inputs) + i]));
            }
        }

        void Compare(string name, int rows, int columns, Func<int, int, double> expected)
        {
            float[] values = new float[rows * columns];
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = (float)(settings.Scale * expected(i / columns, i % columns));
            }

            Assert.Contains(values, value => value != 0);
            double deviation = Deviation.RelativeNorm(Gradient(frozen, name, rows, columns), values);
            Assert.True(deviation <= bound, $"The gradient of {name} deviates by {deviation:g3}.");
        }

        static double Sum(int count, Func<int, double> term) => Enumerable.Range(0, count).Sum(term);
    }

    /// <summary>Frozen weights are read as they are stored: those of bf16 give what the same numbers in float32 give.</summary>
    [Theory]
    [InlineData("cpu"), InlineData("cuda-float32")]
    public void A_base_of_16_bits_is_not_widened(string backendName)
    {
        using Backend backend = ModelBackends.Open(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.BFloat16, seed: 5);
        using LoraAdapter adapter = RandomAdapter(Settings);
        string folder = _folder.File("wide");
        CheckpointWriter.Write(
            folder, TinyModel.Config, tensor => weights.Tensors[tensor.Name], new CheckpointSaveOptions { WeightType = DataType.Float32 },
            cancellationToken: TestContext.Current.CancellationToken);
        using Checkpoint wide = Checkpoint.Open(folder);
        float[][] gradients = [.. new[] { weights.Tensors, wide.Tensors }.Select(tensors =>
        {
            using TrainableModel model = new(TinyModel.Config, tensors, backend, Settings, seed: 1);
            model.Parameters.Load(adapter.Tensors);
            Pass(model);
            float[] values = new float[model.Gradients.Values.Rows * model.Gradients.Values.Columns];
            backend.Download<float>(model.Gradients.Values, values);
            return values;
        })];
        double deviation = Deviation.RelativeNorm(gradients[0], gradients[1]);
        Assert.True(deviation <= 1e-5, $"The gradients deviate by {deviation:g3}.");
    }

    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void A_merged_model_has_the_logits_of_model_and_adapter(string backendName)
    {
        using Backend backend = ModelBackends.Open(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 5);
        using LoraAdapter adapter = RandomAdapter(Settings);
        using TrainableModel frozen = new(TinyModel.Config, weights.Tensors, backend, Settings, seed: 1);
        frozen.Parameters.Load(adapter.Tensors);
        using ForwardTape tape = frozen.CreateTape();
        int[] ids = TinyModel.RandomIds((int)Sequences.TotalLength, 1);
        frozen.Forward(ids, Sequences, tape);
        int vocabulary = TinyModel.Config.VocabularySize;
        using DeviceBuffer buffer = backend.Allocate((long)ids.Length * vocabulary * sizeof(float));
        MatrixView view = buffer.Matrix(DataType.Float32, ids.Length, vocabulary);
        frozen.Logits(tape, 0, view);
        float[] actual = new float[ids.Length * vocabulary], expected = new float[actual.Length];
        backend.Download<float>(view, actual);

        string folder = _folder.File("base");
        CheckpointWriter.Write(
            folder, TinyModel.Config, tensor => weights.Tensors[tensor.Name], cancellationToken: TestContext.Current.CancellationToken);
        using MambaModel merged = MambaModel.Load(
            Checkpoint.Open(folder), adapter, backend, cancellation: TestContext.Current.CancellationToken);
        using MambaState state = merged.CreateState(Sequences.SlotCount);
        merged.Forward(ids, Sequences, state, expected, every: true);
        double bound = backend.ActivationType == DataType.Float32 ? 1e-5 : 3e-2, deviation = Deviation.RelativeNorm(actual, expected);
        Assert.True(deviation <= bound, $"The logits deviate by {deviation:g3}.");
    }

    /// <summary>The sums of W + s B A, rounded to the type that W has.</summary>
    [Theory]
    [InlineData(DataType.Float32), InlineData(DataType.BFloat16), InlineData(DataType.Float16)]
    public void Weights_are_merged_in_float32_and_rounded_once(DataType type)
    {
        using RandomWeights weights = new(TinyModel.Config, type, seed: 5);
        using LoraAdapter adapter = RandomAdapter(Settings with { Targets = ["out_proj", "dt_proj"] });
        using MergedWeights merged = new(weights.Tensors, adapter);
        string changed = TensorNames.OutProjection(1), kept = TensorNames.InProjection(1);
        Assert.Same(weights.Tensors[kept], merged.Tensors[kept]);
        Assert.Equal(type, merged.Tensors[changed].Type);
        float[] before = TinyCheckpoint.Values(weights.Tensors[changed]), after = TinyCheckpoint.Values(merged.Tensors[changed]);
        float[] a = TinyCheckpoint.Values(adapter.Tensors[TensorNames.LoraA(1, "out_proj")]);
        float[] b = TinyCheckpoint.Values(adapter.Tensors[TensorNames.LoraB(1, "out_proj")]);
        int rank = Settings.Rank, inputs = a.Length / rank;
        double unit = type switch { DataType.Float32 => 1e-6, DataType.BFloat16 => Math.Pow(2, -8), _ => Math.Pow(2, -11) };
        for (int i = 0; i < after.Length; i++)
        {
            double update = Enumerable.Range(0, rank).Sum(k => (double)b[(i / inputs * rank) + k] * a[(k * inputs) + (i % inputs)]);
            double expected = before[i] + (Settings.Scale * update);
            Assert.True(Math.Abs(after[i] - expected) <= (unit * Math.Abs(expected)) + 1e-7, $"Element {i} is {after[i]}, not {expected}.");
        }
    }

    [Fact]
    public void An_adapter_begins_at_its_base_and_holds_nothing_else()
    {
        using CpuBackend backend = new(threads: 2);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 5);
        using TrainableModel whole = new(TinyModel.Config, weights.Tensors, backend);
        using TrainableModel frozen = new(TinyModel.Config, weights.Tensors, backend, new LoraSettings { Rank = 2, Alpha = 2 }, seed: 1);
        Assert.Equal(Pass(whole), Pass(frozen));
        Assert.Equal(frozen.Parameters.Values.Rows, frozen.Gradients.Values.Rows);
        Assert.True(frozen.Parameters.Layout.ElementCount * 10 < whole.Parameters.Layout.ElementCount);
        float[] a = Values(frozen, TensorNames.LoraA(1, "in_proj")), b = Values(frozen, TensorNames.LoraB(1, "in_proj"));
        double bound = 1 / Math.Sqrt(TinyModel.Config.HiddenSize);
        Assert.All(b, value => Assert.Equal(0, value));
        Assert.All(a, value => Assert.InRange(value, -bound, bound));
        Assert.True(a.Max() > bound / 2 && a.Min() < -bound / 2 && a.Distinct().Count() == a.Length);
        Assert.NotEqual(a, Values(frozen, TensorNames.LoraA(0, "in_proj")));
    }

    [Fact]
    public void Files_are_those_of_PEFT()
    {
        const string Layers = "base_model.model.backbone.layers.";
        int inner = TinyModel.Config.IntermediateSize;
        LoraSettings settings = Settings with { Targets = ["in_proj", "x_proj"], BaseModel = "state-spaces/mamba-130m-hf" };
        using (LoraAdapter adapter = RandomAdapter(settings))
        {
            Assert.Equal([2 * inner, 3], adapter.Tensors[Layers + "0.mixer.in_proj.lora_B.weight"].Shape.ToArray());
            Assert.Equal([3, inner], adapter.Tensors[Layers + "1.mixer.x_proj.lora_A.weight"].Shape.ToArray());
            Assert.Equal(8, adapter.Tensors.Count);
            Assert.Equal("state-spaces/mamba-130m-hf", adapter.Settings.BaseModel);
        }

        string json = File.ReadAllText(_folder.File("adapter_config.json"));
        Assert.Contains("\"peft_type\": \"LORA\"", json, StringComparison.Ordinal);
        Assert.Contains("\"r\": 3", json, StringComparison.Ordinal);
        Assert.Contains("\"lora_alpha\": 4", json, StringComparison.Ordinal);

        // As PEFT 0.17 writes it.
        _folder.Write("adapter_config.json", """
            {
              "alpha_pattern": {}, "auto_mapping": null, "base_model_name_or_path": null, "bias": "none", "corda_config": null,
              "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
              "layer_replication": null, "layers_pattern": null, "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 6,
              "lora_bias": false, "lora_dropout": 0.05, "megatron_config": null, "megatron_core": "megatron.core",
              "modules_to_save": null, "peft_type": "LORA", "qalora_group_size": 16, "r": 3, "rank_pattern": {}, "revision": null,
              "target_modules": ["x_proj", "in_proj"], "target_parameters": null, "task_type": "CAUSAL_LM",
              "trainable_token_indices": null, "use_dora": false, "use_qalora": false, "use_rslora": true
            }
            """);
        using LoraAdapter read = LoraAdapter.Open(_folder.Path, TinyModel.Config);
        Assert.Equal(6 / Math.Sqrt(3), read.Settings.Scale);
        Assert.Null(read.Settings.BaseModel);
    }

    [Theory]
    [InlineData("\"r\": 3", "\"r\": 4", "lora_A.weight' is [3, 36], expected [4, 36]")]
    [InlineData("\"r\": 3", "\"r\": 0", "r is 0, but must be a whole number")]
    [InlineData("\"r\": 3,", "", "lacks r")]
    [InlineData("\"lora_alpha\": 4", "\"lora_alpha\": -1", "Alpha of an adapter must be positive")]
    [InlineData("\"LORA\"", "\"IA3\"", "peft_type is 'IA3'")]
    [InlineData("\"none\"", "\"all\"", "bias is 'all'")]
    [InlineData("\"use_dora\": false", "\"use_dora\": true", "use_dora is true")]
    [InlineData("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]", "modules_to_save is set")]
    [InlineData("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "init_lora_weights is 'pissa'")]
    [InlineData("\"out_proj\"", "\"conv1d\"", "cannot be of 'conv1d'")]
    [InlineData("\"out_proj\"", "\"in_proj\"", "each once")]
    [InlineData("\"out_proj\"", "\"x_proj\"", "layers.0.mixer.x_proj.lora_A.weight' [3, 70] is missing")]
    [InlineData("\"use_rslora\"", "\"use_new_kind\"", "unknown fields: 'use_new_kind'")]
    [InlineData("{", "[", "is not valid JSON")]
    public void Settings_that_are_not_understood_are_refused_by_name(string said, string instead, string named)
    {
        RandomAdapter(Settings with { Targets = ["in_proj", "out_proj"] }).Dispose();
        string path = _folder.File("adapter_config.json"), text = File.ReadAllText(path);
        Assert.Contains(said, text, StringComparison.Ordinal);
        File.WriteAllText(path, text.Replace(said, instead, StringComparison.Ordinal));
        Assert.Contains(named, Refusal(TinyModel.Config), StringComparison.Ordinal);
    }

    [Fact]
    public void An_adapter_of_another_model_is_refused_by_name()
    {
        RandomAdapter(Settings).Dispose();
        Assert.Contains("is [3, 36], expected [3, 32]", Refusal(TinyModel.Config with { HiddenSize = 32 }), StringComparison.Ordinal);
        Assert.Contains(
            "layers.2.mixer.in_proj.lora_A.weight' [3, 36] is missing", Refusal(TinyModel.Config with { LayerCount = 3 }),
            StringComparison.Ordinal);
        Assert.Contains("is not part of it", Refusal(TinyModel.Config with { LayerCount = 1 }), StringComparison.Ordinal);
        string weights = _folder.File("adapter_model.safetensors");
        File.WriteAllBytes(weights, File.ReadAllBytes(weights)[..^8]);
        Assert.Contains("adapter_model.safetensors", Refusal(TinyModel.Config), StringComparison.Ordinal);
        File.Delete(weights);
        Assert.Contains("adapter_model.safetensors", Refusal(TinyModel.Config), StringComparison.Ordinal);
        File.Delete(_folder.File("adapter_config.json"));
        Assert.Contains("holds no adapter_config.json", Refusal(TinyModel.Config), StringComparison.Ordinal);
    }

    private static double Pass(TrainableModel model)
    {
        int count = (int)Sequences.TotalLength;
        using ForwardTape tape = model.CreateTape();
        model.Forward(TinyModel.RandomIds(count, 1), Sequences, tape);
        model.Loss(tape, TinyModel.RandomIds(count, 2), 1f / count);
        model.Backward(tape);
        return model.ReadLoss(tape) / count;
    }

    private static float[] Gradient(TrainableModel model, string name, params long[] shape)
    {
        ExpectedTensor tensor = new(name, shape);
        using NativeHostMemory memory = new(tensor.ElementCount * sizeof(float));
        return TinyCheckpoint.Values(model.Gradients.Download(tensor, memory));
    }

    private static float[] Values(TrainableModel model, string name)
    {
        ExpectedTensor tensor = model.Adapter!.Tensors(model.Config).Single(tensor => tensor.Name == name);
        using NativeHostMemory memory = new(tensor.ElementCount * sizeof(float));
        return TinyCheckpoint.Values(model.Parameters.Download(tensor, memory));
    }

    private string Refusal(MambaConfig config) =>
        Assert.Throws<CheckpointException>(() => LoraAdapter.Open(_folder.Path, config)).Message;

    /// <summary>An adapter whose A and B are not zero, by way of the folder.</summary>
    private unsafe LoraAdapter RandomAdapter(LoraSettings settings)
    {
        Random random = new(3);
        List<NativeHostMemory> memory = [];
        LoraAdapter.Save(_folder.Path, settings, TinyModel.Config, tensor =>
        {
            memory.Add(new NativeHostMemory(tensor.ElementCount * sizeof(float)));
            Span<float> values = new(memory[^1].Pointer, (int)tensor.ElementCount);
            foreach (ref float value in values)
            {
                value = (float)(random.NextDouble() - 0.5) / 4;
            }

            return new StoredTensor(tensor.Name, DataType.Float32, tensor.Shape, memory[^1]);
        });
        memory.ForEach(part => part.Dispose());
        return LoraAdapter.Open(_folder.Path, TinyModel.Config);
    }
}
