using System.Buffers;
using System.Globalization;
using System.Text.Json;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// config.json as transformers writes it (model_type "mamba"). Defaults are those of its MambaConfig class. The published files
/// were converted from the state-spaces format and still carry its fields, which must then agree.
/// </summary>
internal static class HuggingFaceConfig
{
    private static readonly string[] Architectures = ["MambaForCausalLM", "MambaModel", "MambaLMHeadModel"];

    public static MambaConfig Read(ConfigFields fields)
    {
        CheckArchitecture(fields);
        int hidden = fields.Integer("hidden_size", 768, 1, ConfigLimits.Hidden);
        MambaConfig config = new()
        {
            VocabularySize = fields.Integer("vocab_size", 50280, 1, ConfigLimits.Vocabulary),
            HiddenSize = hidden,
            LayerCount = fields.Integer("num_hidden_layers", 32, 1, ConfigLimits.Layers),
            IntermediateSize = ReadIntermediateSize(fields, hidden),
            StateSize = fields.Integer("state_size", 16, 1, ConfigLimits.State),
            ConvKernel = fields.Integer("conv_kernel", 4, ConfigLimits.LeastKernel, ConfigLimits.MostKernel),
            TimeStepRank = fields.IntegerOrAuto("time_step_rank", 1, ConfigLimits.Rank) ?? 0,
            UseBias = fields.Flag("use_bias", true),
            UseConvBias = fields.Flag("use_conv_bias", true),
            NormEpsilon = (float)fields.Number("layer_norm_epsilon", 1e-5),
            ResidualInFloat32 = fields.Flag("residual_in_fp32", true),
            TieEmbeddings = fields.Flag("tie_word_embeddings", true),
            BosTokenId = fields.NullableInteger("bos_token_id", 0, 0, ConfigLimits.Vocabulary),
            EosTokenIds = fields.Integers("eos_token_id", [0], 0, ConfigLimits.Vocabulary),
            PadTokenId = fields.NullableInteger("pad_token_id", 0, 0, ConfigLimits.Vocabulary),
            InitializerRange = fields.Number("initializer_range", 0.1),
            RescalePrenormResidual = fields.Flag("rescale_prenorm_residual", false),
            TimeStepMin = fields.Number("time_step_min", 0.001),
            TimeStepMax = fields.Number("time_step_max", 0.1),
            TimeStepFloor = fields.Number("time_step_floor", 1e-4),
            TimeStepScale = fields.Number("time_step_scale", 1),
            TimeStepInitialization = ReadInitialization(fields, "time_step_init_scheme"),
            Quantization = QuantizationConfig.Read(fields),
        };
        StateSpacesConfig.CheckLeftovers(fields, config);
        InertFields.Accept(fields);
        fields.RefuseOthers();
        return config;
    }

    public static byte[] Write(MambaConfig config, DataType weightType)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter json = new(buffer, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteStartArray("architectures");
            json.WriteStringValue("MambaForCausalLM");
            json.WriteEndArray();
            json.WriteString("model_type", "mamba");
            json.WriteNumber("vocab_size", config.VocabularySize);
            json.WriteNumber("hidden_size", config.HiddenSize);
            json.WriteNumber("intermediate_size", config.IntermediateSize);
            if ((double)config.IntermediateSize / config.HiddenSize is var expand && expand * config.HiddenSize == config.IntermediateSize)
            {
                WriteNumber(json, "expand", expand);
            }

            json.WriteNumber("state_size", config.StateSize);
            json.WriteNumber("num_hidden_layers", config.LayerCount);
            json.WriteNumber("conv_kernel", config.ConvKernel);
            json.WriteNumber("time_step_rank", config.TimeStepRank);
            WriteNumber(json, "time_step_min", config.TimeStepMin);
            WriteNumber(json, "time_step_max", config.TimeStepMax);
            WriteNumber(json, "time_step_floor", config.TimeStepFloor);
            WriteNumber(json, "time_step_scale", config.TimeStepScale);
            json.WriteString(
                "time_step_init_scheme", config.TimeStepInitialization == TimeStepInitialization.Random ? "random" : "constant");
            json.WriteBoolean("use_bias", config.UseBias);
            json.WriteBoolean("use_conv_bias", config.UseConvBias);
            json.WriteString("hidden_act", "silu");
            WriteNumber(json, "layer_norm_epsilon", config.NormEpsilon);
            json.WriteBoolean("residual_in_fp32", config.ResidualInFloat32);
            json.WriteBoolean("tie_word_embeddings", config.TieEmbeddings);
            WriteNumber(json, "initializer_range", config.InitializerRange);
            json.WriteBoolean("rescale_prenorm_residual", config.RescalePrenormResidual);
            WriteTokens(json, "bos_token_id", config.BosTokenId is { } bos ? [bos] : []);
            WriteTokens(json, "eos_token_id", config.EosTokenIds);
            WriteTokens(json, "pad_token_id", config.PadTokenId is { } pad ? [pad] : []);
            json.WriteBoolean("use_cache", true);
            json.WriteString("torch_dtype", TorchName(weightType));
            config.Quantization?.Write(json);
            json.WriteEndObject();
        }

        return [.. buffer.WrittenSpan, (byte)'\n'];
    }

    internal static TimeStepInitialization ReadInitialization(ConfigFields fields, string name) => fields.OptionalText(name) switch
    {
        null or "random" => TimeStepInitialization.Random,
        "constant" => TimeStepInitialization.Constant,
        { } other => throw fields.Refused($"{name} is {other.Quoted()}, but must be 'random' or 'constant'"),
    };

    /// <summary>The width of the scan from the factor by which it is wider than the residual stream.</summary>
    internal static int Expanded(ConfigFields fields, double expand, int hidden)
    {
        double size = expand * hidden;
        return size >= 1 && size <= ConfigLimits.Intermediate && size == Math.Floor(size)
            ? (int)size
            : throw fields.Refused(string.Create(
                CultureInfo.InvariantCulture,
                $"expand is {expand}, which does not make a whole width from 1 to {ConfigLimits.Intermediate} of {hidden}"));
    }

    private static void CheckArchitecture(ConfigFields fields)
    {
        string? type = fields.OptionalText("model_type");
        if (type != "mamba")
        {
            string what = type switch
            {
                "mamba2" => "a Mamba-2 model",
                "falcon_mamba" => "a Falcon Mamba model, which normalises delta, B and C inside the mixer",
                "jamba" or "zamba" or "zamba2" or "bamba" or "granitemoehybrid" or "nemotron_h" or "falcon_h1" =>
                    "a hybrid with attention layers",
                _ => "another architecture",
            };
            throw fields.Refused(
                $"model_type is {type!.Quoted()}, {what}; only 'mamba' (Mamba-1) is supported", "Use a Mamba-1 checkpoint");
        }

        if (fields.OptionalTexts("architectures") is { Length: > 0 } architectures && !architectures.Any(Architectures.Contains))
        {
            throw fields.Refused(
                $"architectures names {architectures[0].Quoted()}, but only {string.Join(", ", Architectures)} are supported");
        }

        if (fields.OptionalText("hidden_act") is { } activation && activation != "silu")
        {
            throw fields.Refused($"hidden_act is {activation.Quoted()}, but Mamba's kernels compute 'silu' only");
        }
    }

    private static int ReadIntermediateSize(ConfigFields fields, int hidden)
    {
        int? given = fields.OptionalInteger("intermediate_size", 1, ConfigLimits.Intermediate);
        double? expand = fields.OptionalNumber("expand");
        if (given is null || expand is not null)
        {
            int expanded = Expanded(fields, expand ?? 2, hidden);
            fields.MustAgree("intermediate_size", given, "expand times hidden_size", expanded);
            return expanded;
        }

        return given.Value;
    }

    private static void WriteTokens(Utf8JsonWriter json, string name, TokenIdList ids)
    {
        if (ids.Count == 1)
        {
            json.WriteNumber(name, ids[0]);
        }
        else if (ids.Count == 0)
        {
            json.WriteNull(name);
        }
        else
        {
            json.WriteStartArray(name);
            foreach (int id in ids)
            {
                json.WriteNumberValue(id);
            }

            json.WriteEndArray();
        }
    }

    /// <summary>Python takes 1 for an integer and 1.0 for a float, and transformers checks which one a field is.</summary>
    private static void WriteNumber<T>(Utf8JsonWriter json, string name, T value) where T : IFormattable
    {
        json.WritePropertyName(name);
        string text = value.ToString("R", CultureInfo.InvariantCulture);
        bool whole = text.All(c => char.IsAsciiDigit(c) || c == '-');
        json.WriteRawValue(whole && name != "expand" ? text + ".0" : text, skipInputValidation: true);
    }

    private static string TorchName(DataType type) => type switch
    {
        DataType.Float32 => "float32",
        DataType.BFloat16 => "bfloat16",
        DataType.Float16 => "float16",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Weights are Float32, BFloat16 or Float16."),
    };
}
