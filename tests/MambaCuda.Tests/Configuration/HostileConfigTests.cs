using System.Text;
using System.Text.Json;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>A mutated config.json is refused by name, or means what another reader of JSON finds in it.</summary>
public class HostileConfigTests
{
    private const string HuggingFace = """
        {
          "architectures": ["MambaForCausalLM"], "model_type": "mamba",
          "hidden_size": 64, "intermediate_size": 128, "state_size": 16, "num_hidden_layers": 3, "conv_kernel": 4, "expand": 2,
          "time_step_rank": 4, "time_step_min": 0.001, "time_step_max": 0.1, "time_step_floor": 0.0001, "time_step_scale": 1.0,
          "time_step_init_scheme": "random", "use_bias": false, "use_conv_bias": true, "hidden_act": "silu", "layer_norm_epsilon": 1e-05,
          "residual_in_fp32": true, "initializer_range": 0.1, "rescale_prenorm_residual": false, "use_cache": true,
          "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "torch_dtype": "float32", "vocab_size": 96, "tie_word_embeddings": true
        }
        """;

    private const string StateSpaces = """
        {"d_model": 64, "n_layer": 3, "vocab_size": 91, "ssm_cfg": {"d_state": 16, "expand": 2}, "rms_norm": true, "residual_in_fp32": true,
        "fused_add_norm": true, "pad_vocab_size_multiple": 8}
        """;

    [Fact]
    public void Mutated_Hugging_Face_configurations_are_refused_or_mean_what_they_say() => Check(HuggingFace, config => new()
    {
        ["hidden_size"] = config.HiddenSize,
        ["intermediate_size"] = config.IntermediateSize,
        ["state_size"] = config.StateSize,
        ["num_hidden_layers"] = config.LayerCount,
        ["conv_kernel"] = config.ConvKernel,
        ["expand"] = (double)config.IntermediateSize / config.HiddenSize,
        ["time_step_rank"] = config.TimeStepRank,
        ["time_step_min"] = config.TimeStepMin,
        ["time_step_max"] = config.TimeStepMax,
        ["time_step_floor"] = config.TimeStepFloor,
        ["time_step_scale"] = config.TimeStepScale,
        ["layer_norm_epsilon"] = config.NormEpsilon,
        ["initializer_range"] = config.InitializerRange,
        ["bos_token_id"] = config.BosTokenId,
        ["pad_token_id"] = config.PadTokenId,
        ["vocab_size"] = config.VocabularySize,
        ["use_bias"] = config.UseBias ? 1 : 0,
        ["use_conv_bias"] = config.UseConvBias ? 1 : 0,
        ["residual_in_fp32"] = config.ResidualInFloat32 ? 1 : 0,
        ["rescale_prenorm_residual"] = config.RescalePrenormResidual ? 1 : 0,
        ["tie_word_embeddings"] = config.TieEmbeddings ? 1 : 0,
    }, HuggingFaceNames);

    [Fact]
    public void Mutated_state_spaces_configurations_are_refused_or_mean_what_they_say() => Check(StateSpaces, config => new()
    {
        ["d_model"] = config.HiddenSize,
        ["n_layer"] = config.LayerCount,
        ["residual_in_fp32"] = config.ResidualInFloat32 ? 1 : 0,
        ["rms_norm"] = 1,
    }, ["ssm_cfg", "vocab_size", "fused_add_norm", "pad_vocab_size_multiple"]);

    private static string[] HuggingFaceNames =>
        ["architectures", "model_type", "time_step_init_scheme", "hidden_act", "eos_token_id",
        .. InertFields.Table.Select(inert => inert.Name)];

    private static void Check(string original, Func<MambaConfig, Dictionary<string, double?>> read, string[] otherNames)
    {
        using TemporaryFolder folder = new();
        byte[] bytes = Encoding.UTF8.GetBytes(original);
        MambaConfig.Parse(bytes, "the original");
        int refused = HostileFiles.Check(
            seed => FileMutation.Of(bytes, seed),
            mutated => Compare(MambaConfig.Load(folder.Write("config.json", mutated)), mutated, read, otherNames),
            e => e is CheckpointException);
        Assert.InRange(refused, HostileFiles.Count / 2, HostileFiles.Count - 1);
    }

    private static void Compare(
        MambaConfig config, byte[] bytes, Func<MambaConfig, Dictionary<string, double?>> read, string[] otherNames)
    {
        Dictionary<string, double?> values = read(config);
        using JsonDocument json = JsonDocument.Parse(bytes);
        foreach (JsonProperty property in json.RootElement.EnumerateObject())
        {
            if (!values.TryGetValue(property.Name, out double? value))
            {
                Assert.Contains(property.Name, otherNames);
                continue;
            }

            double? said = property.Value.ValueKind switch
            {
                JsonValueKind.True => 1,
                JsonValueKind.False => 0,
                JsonValueKind.Null => null,
                _ => property.Value.GetDouble(),
            };
            bool same = said is null ? value is null : Math.Abs(said.Value - value!.Value) <= 1e-6 * Math.Abs(said.Value);
            Assert.True(same, property.ToString());
        }

        Assert.InRange(config.Tensors().Count, 1, 13 * ConfigLimits.Layers);
        config.Validate();
    }
}
