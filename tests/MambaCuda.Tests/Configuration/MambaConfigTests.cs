using System.Reflection;
using System.Text;
using System.Text.Json;
using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>config.json in both public formats: what is honoured, what is inert, and what is refused by which name.</summary>
public class MambaConfigTests
{
    private const string StateSpaces130m = """
        {"d_model":768,"n_layer":24,"vocab_size":50277,"ssm_cfg":{},"rms_norm":true,"residual_in_fp32":true,"fused_add_norm":true,
        "pad_vocab_size_multiple":8}
        """;

    // As published: converted from the state-spaces format, with its fields left in.
    private const string HuggingFace130m = """
        {"architectures":["MambaForCausalLM"],"bos_token_id":0,"conv_kernel":4,"d_inner":1536,"d_model":768,"eos_token_id":0,"expand":2,
        "fused_add_norm":true,"hidden_act":"silu","hidden_size":768,"initializer_range":0.1,"intermediate_size":1536,
        "layer_norm_epsilon":1e-05,"model_type":"mamba","n_layer":24,"num_hidden_layers":24,"pad_token_id":0,"pad_vocab_size_multiple":8,
        "rescale_prenorm_residual":false,"residual_in_fp32":true,"rms_norm":true,"ssm_cfg":{},"state_size":16,"time_step_floor":0.0001,
        "time_step_init_scheme":"random","time_step_max":0.1,"time_step_min":0.001,"time_step_rank":48,"time_step_scale":1.0,
        "torch_dtype":"float32","transformers_version":"4.39.0.dev0","use_bias":false,"use_cache":true,"use_conv_bias":true,
        "vocab_size":50280}
        """;

    public static TheoryData<string> Containers => [.. Fixtures.ModelContainers()];

    [Theory]
    [InlineData(StateSpaces130m)]
    [InlineData(HuggingFace130m)]
    public void Both_published_forms_of_130m_have_the_same_tensors(string json)
    {
        MambaConfig config = Parse(json);
        Assert.Equal((50280, 768, 24), (config.VocabularySize, config.HiddenSize, config.LayerCount));
        Assert.Equal((1536, 16, 4, 48), (config.IntermediateSize, config.StateSize, config.ConvKernel, config.TimeStepRank));
        Assert.True(config is { UseBias: false, UseConvBias: true, TieEmbeddings: true, ResidualInFloat32: true, NormEpsilon: 1e-5f });
        Assert.Equal(129_135_360, config.Tensors().Sum(tensor => tensor.ElementCount));
    }

    [Fact]
    public void Absent_fields_have_the_defaults_of_the_class_that_wrote_the_file()
    {
        MambaConfig config = Parse("""{"model_type":"mamba"}""");
        Assert.Equal((50280, 768, 32, 1536, 16, 4, 48), (config.VocabularySize, config.HiddenSize, config.LayerCount,
            config.IntermediateSize, config.StateSize, config.ConvKernel, config.TimeStepRank));
        Assert.True(config is { UseBias: true, UseConvBias: true, TieEmbeddings: true, RescalePrenormResidual: false });
        Assert.Equal((0, 0), (config.BosTokenId, config.PadTokenId));
        Assert.Equal([0], config.EosTokenIds);
        Assert.Equal(0.1, config.InitializerRange);
    }

    [Fact]
    public void Arguments_of_the_original_layer_are_honoured()
    {
        MambaConfig config = Parse("""
            {"d_model":100,"n_layer":2,"vocab_size":90,"pad_vocab_size_multiple":64,"tie_embeddings":false,"d_intermediate":0,
             "attn_layer_idx":[],
            "attn_cfg":{},"ssm_cfg":{"layer":"Mamba1","d_state":8,"d_conv":3,"expand":1.5,"dt_rank":5,"dt_min":0.01,"dt_max":0.2,
            "dt_init":"constant","dt_scale":2,"dt_init_floor":0.002,"conv_bias":false,"bias":true,"use_fast_path":false}}
            """);
        Assert.Equal(
            new MambaConfig
            {
                VocabularySize = 128,
                HiddenSize = 100,
                LayerCount = 2,
                TieEmbeddings = false,
                StateSize = 8,
                ConvKernel = 3,
                IntermediateSize = 150,
                TimeStepRank = 5,
                TimeStepMin = 0.01,
                TimeStepMax = 0.2,
                TimeStepInitialization = TimeStepInitialization.Constant,
                TimeStepScale = 2,
                TimeStepFloor = 0.002,
                UseConvBias = false,
                UseBias = true,
            },
            config);
    }

    [Fact]
    public void The_vocabulary_of_the_original_is_padded() =>
        Assert.Equal(96, Parse("""{"d_model":64,"n_layer":3,"vocab_size":91}""").VocabularySize);

    [Fact]
    public void The_rank_is_a_sixteenth_rounded_up()
    {
        Assert.Equal(7, Parse("""{"d_model":100,"n_layer":1,"vocab_size":8,"ssm_cfg":{"dt_rank":"auto"}}""").TimeStepRank);
        Assert.Equal(7, Parse("""{"model_type":"mamba","hidden_size":100,"time_step_rank":"auto"}""").TimeStepRank);
    }

    [Fact]
    public void Special_tokens_may_be_numbers_lists_or_nothing()
    {
        MambaConfig config = Parse("""{"model_type":"mamba","bos_token_id":null,"eos_token_id":[3,5],"pad_token_id":7}""");
        Assert.Equal((null, 7), (config.BosTokenId, config.PadTokenId));
        Assert.Equal([3, 5], config.EosTokenIds);
        Assert.Equal([], Parse("""{"model_type":"mamba","eos_token_id":null}""").EosTokenIds);
    }

    [Fact]
    public void Every_inert_field_is_accepted_and_has_a_reason()
    {
        Assert.All(InertFields.Table, field =>
        {
            Assert.NotEmpty(field.Reason);
            string json = """{"model_type":"mamba","NAME":{"any":[1]}}""".Replace("NAME", field.Name, StringComparison.Ordinal);
            Assert.Equal(Parse("""{"model_type":"mamba"}"""), Parse(json));
        });
        Assert.Distinct(InertFields.Table.Select(field => field.Name));
    }

    [Theory]
    [MemberData(nameof(Containers))]
    public void What_is_written_reads_back_as_the_same(string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        MambaConfig config = MambaConfig.Load(Path.Combine(Fixtures.PathOf(container), "config.json"));
        Assert.Equal(config, MambaConfig.Parse(config.ToJson(), container));
    }

    [Fact]
    public void What_is_written_reads_back_as_the_same_in_every_field()
    {
        MambaConfig config = new()
        {
            VocabularySize = 100,
            HiddenSize = 24,
            LayerCount = 3,
            IntermediateSize = 36,
            StateSize = 5,
            ConvKernel = 2,
            TimeStepRank = 3,
            UseBias = true,
            UseConvBias = false,
            NormEpsilon = 3e-6f,
            ResidualInFloat32 = false,
            TieEmbeddings = false,
            BosTokenId = 4,
            EosTokenIds = [1, 2],
            PadTokenId = null,
            InitializerRange = 0.5,
            RescalePrenormResidual = false,
            TimeStepMin = 1e-5,
            TimeStepMax = 3,
            TimeStepFloor = 1e-7,
            TimeStepScale = 4,
            TimeStepInitialization = TimeStepInitialization.Constant,
        };
        Assert.Equal(config, MambaConfig.Parse(config.ToJson(DataType.BFloat16), "written"));
        using JsonDocument json = JsonDocument.Parse(config.ToJson(DataType.BFloat16));
        Assert.Equal("mamba", json.RootElement.GetProperty("model_type").GetString());
        Assert.Equal("MambaForCausalLM", json.RootElement.GetProperty("architectures")[0].GetString());
        Assert.Equal("bfloat16", json.RootElement.GetProperty("torch_dtype").GetString());
        Assert.Equal("4.0", json.RootElement.GetProperty("time_step_scale").GetRawText());
    }

    [Fact]
    public void Configurations_are_equal_where_every_value_is()
    {
        MambaConfig config = new() { VocabularySize = 100, HiddenSize = 24, LayerCount = 3 };
        Assert.Equal(config, config with { IntermediateSize = 48, TimeStepRank = 2 });
        Assert.Equal(config.GetHashCode(), (config with { IntermediateSize = 48, TimeStepRank = 2 }).GetHashCode());
        foreach (PropertyInfo property in typeof(MambaConfig).GetProperties().Where(property => property.SetMethod is not null))
        {
            MambaConfig other = config with { };
            property.SetValue(other, property.GetValue(config) switch
            {
                int value => value + 1,
                float value => value * 2,
                double value => value * 2,
                bool value => !value,
                TokenIdList => TokenIdList.Create([5]),
                TimeStepInitialization => TimeStepInitialization.Constant,
                _ when property.PropertyType == typeof(QuantizationConfig) => new QuantizationConfig(QuantizedType.Int4, 32),
                _ => 6,
            });
            Assert.NotEqual(config, other);
        }
    }

    /// <summary>The width is what counts: a ratio that no float holds exactly must not keep a model from being saved.</summary>
    [Theory]
    [InlineData(3, 7)]
    [InlineData(768, 1000)]
    [InlineData(999, 1003)]
    [InlineData(4093, 8191)]
    public void A_width_that_is_no_simple_multiple_reads_back(int hidden, int intermediate)
    {
        MambaConfig config = new() { VocabularySize = 8, HiddenSize = hidden, LayerCount = 1, IntermediateSize = intermediate };
        Assert.Equal(config.IntermediateSize, MambaConfig.Parse(config.ToJson(), "written").IntermediateSize);
    }

    [Theory]
    [InlineData("""{"hidden_size":0}""", "hidden_size is 0")]
    [InlineData("""{"hidden_size":-64}""", "hidden_size is -64")]
    [InlineData("""{"hidden_size":1099511627776}""", "hidden_size is 1099511627776")]
    [InlineData("""{"hidden_size":64.5}""", "hidden_size is 64.5")]
    [InlineData("""{"hidden_size":"64"}""", "hidden_size is '64'")]
    [InlineData("""{"hidden_size":null}""", "hidden_size is null")]
    [InlineData("""{"hidden_size":1e400}""", "hidden_size is 1e400")]
    [InlineData("""{"hidden_size":64,"hidden_size":64}""", "hidden_size")]
    [InlineData("""{"vocab_size":16777217}""", "vocab_size is 16777217")]
    [InlineData("""{"num_hidden_layers":100000}""", "num_hidden_layers is 100000")]
    [InlineData("""{"conv_kernel":5}""", "conv_kernel is 5")]
    [InlineData("""{"state_size":[16]}""", "state_size is a list")]
    [InlineData("""{"intermediate_size":1000}""", null)]
    [InlineData("""{"intermediate_size":1000,"expand":2}""", "intermediate_size is 1000")]
    [InlineData("""{"hidden_size":3,"expand":1.5}""", "expand is 1.5")]
    [InlineData("""{"expand":-2}""", "expand is -2")]
    [InlineData("""{"time_step_rank":"half"}""", "time_step_rank is 'half'")]
    [InlineData("""{"time_step_min":0}""", "least time step is 0")]
    [InlineData("""{"time_step_max":1e-9}""", "greatest time step")]
    [InlineData("""{"time_step_init_scheme":"uniform"}""", "time_step_init_scheme is 'uniform'")]
    [InlineData("""{"layer_norm_epsilon":0}""", "norm epsilon is 0")]
    [InlineData("""{"layer_norm_epsilon":1e999}""", "layer_norm_epsilon is 1e999")]
    [InlineData("""{"use_bias":1}""", "use_bias is 1")]
    [InlineData("""{"eos_token_id":50280}""", "special token id is 50280")]
    [InlineData("""{"eos_token_id":[0,-1]}""", "eos_token_id is -1")]
    [InlineData("""{"hidden_act":"gelu"}""", "hidden_act names|hidden_act is 'gelu'")]
    [InlineData("""{"architectures":["Mamba2ForCausalLM"]}""", "architectures names 'Mamba2ForCausalLM'")]
    [InlineData("""{"model_type":"mamba2"}""", "Mamba-2")]
    [InlineData("""{"model_type":"falcon_mamba"}""", "Falcon Mamba")]
    [InlineData("""{"model_type":"jamba"}""", "hybrid")]
    [InlineData("""{"model_type":"llama"}""", "model_type is 'llama'")]
    [InlineData("""{"mixer_rms_eps":1e-6}""", "'mixer_rms_eps'")]
    [InlineData("""{"quantization_config":{}}""", "quantization_config.quant_method")]
    [InlineData("""{"is_encoder_decoder":true}""", "is_encoder_decoder is true")]
    [InlineData("""{"rms_norm":false}""", "rms_norm is false")]
    [InlineData("""{"n_layer":7}""", "n_layer is 7")]
    [InlineData("""{"d_model":7}""", "d_model is 7")]
    [InlineData("""{"ssm_cfg":{"layer":"Mamba2"}}""", "Mamba-2")]
    [InlineData("""{"ssm_cfg":{"d_state":8}}""", "ssm_cfg.d_state is 8")]
    [InlineData("""{"ssm_cfg":{"dt_limit":8}}""", "'ssm_cfg.dt_limit'")]
    public void What_a_Hugging_Face_file_may_not_say_is_named(string fields, string? problem) =>
        RefusedWith("""{"model_type":"mamba",""" + fields[1..], problem, replaceModelType: fields.Contains("model_type"));

    [Theory]
    [InlineData("""{"n_layer":2,"vocab_size":8}""", "lacks|neither")]
    [InlineData("""{"d_model":64,"vocab_size":8}""", "lacks n_layer")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":0}""", "vocab_size is 0")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"ssm_cfg":{"layer":"Mamba2"}}""", "Mamba-2")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"ssm_cfg":{"headdim":64}}""", "'ssm_cfg.headdim'")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"ssm_cfg":[]}""", "ssm_cfg is a list")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"attn_layer_idx":[1]}""", "hybrid")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"attn_cfg":{"num_heads":2}}""", "hybrid")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"d_intermediate":128}""", "d_intermediate")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"rms_norm":false}""", "rms_norm is false")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"pad_vocab_size_multiple":0}""", "pad_vocab_size_multiple is 0")]
    [InlineData("""{"d_model":64,"n_layer":2,"vocab_size":8,"dropout":0.1}""", "'dropout'")]
    [InlineData("""[1]""", "is not a JSON object")]
    [InlineData("""{"d_model":64,}""", "is not valid JSON")]
    [InlineData("""{"d_model":"\ud800"}""", "config.json")]
    [InlineData("", "is not valid JSON")]
    public void What_a_state_spaces_file_may_not_say_is_named(string json, string problem) =>
        RefusedWith(json, problem, replaceModelType: false);

    [Fact]
    public void A_huge_file_is_not_read() =>
        Assert.Contains("at most", Assert.Throws<CheckpointException>(() => Parse(new string(' ', ConfigFile.LongestFile + 1))).Message);

    [Fact]
    public void A_configuration_made_by_hand_is_checked_before_it_is_written() =>
        Assert.Contains("state size is 0", Assert.Throws<CheckpointException>(
            () => new MambaConfig { VocabularySize = 8, HiddenSize = 8, LayerCount = 1, StateSize = 0 }.ToJson()).Message);

    private static void RefusedWith(string json, string? problem, bool replaceModelType)
    {
        json = replaceModelType ? json.Replace("\"model_type\":\"mamba\",", "", StringComparison.Ordinal) : json;
        if (problem is null)
        {
            Parse(json);
            return;
        }

        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Parse(json));
        Assert.StartsWith("config.json: ", refusal.Message);
        Assert.True(problem.Split('|').Any(refusal.Message.Contains), refusal.Message);
    }

    private static MambaConfig Parse(string json) => MambaConfig.Parse(Encoding.UTF8.GetBytes(json), "config.json");
}
