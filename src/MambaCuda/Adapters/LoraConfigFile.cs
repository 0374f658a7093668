using System.Buffers;
using System.Text.Json;

namespace MambaCuda;

/// <summary>
/// adapter_config.json as PEFT writes it. What would make the update another one than scale B A on the named projections of all layers is
/// refused by name.
/// </summary>
internal static class LoraConfigFile
{
    public const string Name = "adapter_config.json";

    // Where the file comes from, and what matters while an adapter is trained or where several are held at once.
    private static readonly string[] Inert =
    [
        "auto_mapping", "inference_mode", "lora_dropout", "megatron_config", "megatron_core", "peft_version", "revision", "runtime_config",
        "task_type", "layers_pattern", "eva_config", "arrow_config", "qalora_group_size", "ensure_weight_tying",
    ];

    private static readonly string[] MustBeFalse = ["fan_in_fan_out", "use_dora", "use_qalora", "lora_bias", "use_bdlora"];

    private static readonly string[] MustBeEmpty =
    [
        "alpha_pattern", "rank_pattern", "modules_to_save", "layers_to_transform", "layer_replication", "exclude_modules", "loftq_config",
        "corda_config", "target_parameters", "trainable_token_indices", "alora_invocation_tokens",
    ];

    public static LoraSettings Load(string path) => ConfigFile.Load(path, Read);

    public static byte[] Write(LoraSettings settings)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter json = new(buffer, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteString("base_model_name_or_path", settings.BaseModel);
            json.WriteString("bias", "none");
            json.WriteBoolean("fan_in_fan_out", false);
            json.WriteBoolean("inference_mode", true);
            json.WriteBoolean("init_lora_weights", true);
            json.WriteNumber("lora_alpha", settings.Alpha);
            json.WriteNumber("lora_dropout", 0.0);
            json.WriteNull("modules_to_save");
            json.WriteString("peft_type", "LORA");
            json.WriteNumber("r", settings.Rank);
            json.WriteStartArray("target_modules");
            foreach (string target in settings.Targets)
            {
                json.WriteStringValue(target);
            }

            json.WriteEndArray();
            json.WriteString("task_type", "CAUSAL_LM");
            json.WriteBoolean("use_dora", false);
            json.WriteBoolean("use_rslora", settings.RankStabilized);
            json.WriteEndObject();
        }

        return [.. buffer.WrittenSpan, (byte)'\n'];
    }

    private static LoraSettings Read(ConfigFields fields)
    {
        string? type = fields.OptionalText("peft_type");
        if (type != "LORA")
        {
            throw fields.Refused($"peft_type is {(type is null ? "not there" : type.Quoted())}, but only \"LORA\" can be used");
        }

        if (fields.OptionalText("bias") is { } bias and not "none")
        {
            throw fields.Refused($"bias is {bias.Quoted()}, but only \"none\" can be used");
        }

        foreach (string name in MustBeFalse)
        {
            if (fields.Flag(name, false))
            {
                throw fields.Refused($"{name} is true, which makes another update of the weights than scale * B * A");
            }
        }

        foreach (string name in MustBeEmpty)
        {
            if (fields.IsFilled(name))
            {
                throw fields.Refused(
                    $"{name} is set: an adapter has one rank for the named projections of all layers here, and nothing beside them");
            }
        }

        CheckInitialization(fields);
        foreach (string name in Inert)
        {
            fields.Ignore(name);
        }

        LoraSettings settings = new()
        {
            Rank = fields.Integer("r", 1, ConfigLimits.Rank),
            Alpha = fields.OptionalNumber("lora_alpha") ?? throw fields.Refused("lacks lora_alpha"),
            RankStabilized = fields.Flag("use_rslora", false),
            Targets = fields.OptionalTexts("target_modules") ?? throw fields.Refused("lacks target_modules"),
            BaseModel = fields.NullableText("base_model_name_or_path"),
        };
        fields.RefuseOthers();
        try
        {
            settings.Validate();
        }
        catch (ArgumentException exception)
        {
            throw fields.Refused(exception.Message.TrimEnd('.'));
        }

        return settings;
    }

    /// <summary>Some ways to begin change the frozen weights too, which are then not those of the base model.</summary>
    private static void CheckInitialization(ConfigFields fields)
    {
        const string Field = "init_lora_weights";
        if (fields.IsText(Field) && fields.OptionalText(Field) is { } way and not ("gaussian" or "orthogonal"))
        {
            throw fields.Refused(
                $"{Field} is {way.Quoted()}, which may have changed the weights of the base model", "Merge the adapter with PEFT");
        }

        fields.Ignore(Field);
    }
}
