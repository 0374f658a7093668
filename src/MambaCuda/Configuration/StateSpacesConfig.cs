namespace MambaCuda;

/// <summary>config.json as the original implementation (state-spaces/mamba) writes it. Defaults are those of its code.</summary>
internal static class StateSpacesConfig
{
    private const int MostPadding = 1 << 16;

    public static MambaConfig Read(ConfigFields fields)
    {
        CheckArchitecture(fields);
        int hidden = fields.Integer("d_model", 1, ConfigLimits.Hidden);
        ScanFields scan = ScanFields.Read(fields, "ssm_cfg");
        int vocabulary = fields.Integer("vocab_size", 1, ConfigLimits.Vocabulary - MostPadding);
        int multiple = fields.Integer("pad_vocab_size_multiple", 8, 1, MostPadding);
        MambaConfig config = new()
        {
            VocabularySize = (vocabulary + multiple - 1) / multiple * multiple,
            HiddenSize = hidden,
            LayerCount = fields.Integer("n_layer", 1, ConfigLimits.Layers),
            IntermediateSize = HuggingFaceConfig.Expanded(fields, scan.Expand ?? 2, hidden),
            StateSize = scan.StateSize ?? 16,
            ConvKernel = scan.ConvKernel ?? 4,
            TimeStepRank = scan.TimeStepRank ?? 0,
            UseBias = scan.UseBias ?? false,
            UseConvBias = scan.UseConvBias ?? true,
            ResidualInFloat32 = fields.Flag("residual_in_fp32", true),
            TieEmbeddings = fields.Flag("tie_embeddings", true),
            TimeStepMin = scan.TimeStepMin ?? 0.001,
            TimeStepMax = scan.TimeStepMax ?? 0.1,
            TimeStepFloor = scan.TimeStepFloor ?? 1e-4,
            TimeStepScale = scan.TimeStepScale ?? 1,
            TimeStepInitialization = scan.TimeStepInitialization,
        };

        // Fused or not, the sum is the same.
        fields.Flag("fused_add_norm", true);
        fields.RefuseOthers();
        return config;
    }

    /// <summary>Fields of this format in a file of the other one must say the same.</summary>
    public static void CheckLeftovers(ConfigFields fields, MambaConfig config)
    {
        CheckArchitecture(fields);
        ScanFields scan = ScanFields.Read(fields, "ssm_cfg");
        fields.MustAgree("d_model", fields.OptionalInteger("d_model", 1, ConfigLimits.Hidden), "hidden_size", config.HiddenSize);
        fields.MustAgree("n_layer", fields.OptionalInteger("n_layer", 1, ConfigLimits.Layers), "num_hidden_layers", config.LayerCount);
        int? inner = fields.OptionalInteger("d_inner", 1, ConfigLimits.Intermediate);
        fields.MustAgree("d_inner", inner, "intermediate_size", config.IntermediateSize);
        fields.MustAgree("tie_embeddings", fields.OptionalFlag("tie_embeddings"), "tie_word_embeddings", config.TieEmbeddings);
        double expand = (double)config.IntermediateSize / config.HiddenSize;
        fields.MustAgree("ssm_cfg.expand", scan.Expand, "intermediate_size / hidden_size", expand);
        fields.MustAgree("ssm_cfg.d_state", scan.StateSize, "state_size", config.StateSize);
        fields.MustAgree("ssm_cfg.d_conv", scan.ConvKernel, "conv_kernel", config.ConvKernel);
        fields.MustAgree("ssm_cfg.dt_rank", scan.TimeStepRank, "time_step_rank", config.TimeStepRank);
        fields.MustAgree("ssm_cfg.bias", scan.UseBias, "use_bias", config.UseBias);
        fields.MustAgree("ssm_cfg.conv_bias", scan.UseConvBias, "use_conv_bias", config.UseConvBias);

        // vocab_size counts the rows after padding in this format.
        fields.Integer("pad_vocab_size_multiple", 1, 1, MostPadding);
        fields.Flag("fused_add_norm", true);
    }

    private static void CheckArchitecture(ConfigFields fields)
    {
        if (fields.IsFilled("attn_layer_idx") || fields.IsFilled("attn_cfg"))
        {
            throw fields.Refused(
                "attn_layer_idx or attn_cfg is filled: a hybrid with attention layers; only pure Mamba is supported",
                "Use a Mamba-1 checkpoint");
        }

        if (fields.Integer("d_intermediate", 0, 0, int.MaxValue) > 0)
        {
            throw fields.Refused(
                "d_intermediate is above 0: the layers have an MLP; only pure Mamba is supported", "Use a Mamba-1 checkpoint");
        }

        if (!fields.Flag("rms_norm", true))
        {
            throw fields.Refused(
                "rms_norm is false: the model uses LayerNorm; only RMSNorm is supported", "Use a checkpoint with rms_norm");
        }
    }

    /// <summary>The arguments of the original's Mamba layer; null where one is not given.</summary>
    private sealed record ScanFields
    {
        public double? Expand { get; private init; }

        public int? StateSize { get; private init; }

        public int? ConvKernel { get; private init; }

        public int? TimeStepRank { get; private init; }

        public bool? UseBias { get; private init; }

        public bool? UseConvBias { get; private init; }

        public double? TimeStepMin { get; private init; }

        public double? TimeStepMax { get; private init; }

        public double? TimeStepFloor { get; private init; }

        public double? TimeStepScale { get; private init; }

        public TimeStepInitialization TimeStepInitialization { get; private init; }

        public static ScanFields Read(ConfigFields fields, string name)
        {
            if (fields.OptionalObject(name) is not { } scan)
            {
                return new ScanFields();
            }

            if (scan.OptionalText("layer") is { } layer && layer != "Mamba1")
            {
                string what = layer == "Mamba2" ? "a Mamba-2 model" : "another layer";
                throw fields.Refused($"{name}.layer is {layer.Quoted()}, {what}; only 'Mamba1' is supported", "Use a Mamba-1 checkpoint");
            }

            // A choice of code path, not of result.
            scan.Flag("use_fast_path", true);
            ScanFields read = new()
            {
                Expand = scan.OptionalNumber("expand"),
                StateSize = scan.OptionalInteger("d_state", 1, ConfigLimits.State),
                ConvKernel = scan.OptionalInteger("d_conv", ConfigLimits.LeastKernel, ConfigLimits.MostKernel),
                TimeStepRank = scan.IntegerOrAuto("dt_rank", 1, ConfigLimits.Rank),
                UseBias = scan.OptionalFlag("bias"),
                UseConvBias = scan.OptionalFlag("conv_bias"),
                TimeStepMin = scan.OptionalNumber("dt_min"),
                TimeStepMax = scan.OptionalNumber("dt_max"),
                TimeStepFloor = scan.OptionalNumber("dt_init_floor"),
                TimeStepScale = scan.OptionalNumber("dt_scale"),
                TimeStepInitialization = HuggingFaceConfig.ReadInitialization(scan, "dt_init"),
            };
            scan.RefuseOthers();
            return read;
        }
    }
}
