namespace MambaCuda;

/// <summary>
/// Fields that transformers writes into every configuration and that do not change what a Mamba model computes, with the reason.
/// Everything that stands neither here nor among the fields that are read is refused.
/// </summary>
internal static class InertFields
{
    private const string Provenance = "says where the file comes from";
    private const string Storage = "the weight files say their own types";
    private const string Path = "chooses between code paths with one result";
    private const string Return = "shapes what a Python call returns";
    private const string Sampling = "a default of Python's generate(); here sampling is chosen by the caller";
    private const string Task = "describes heads for other tasks, which this checkpoint has not";
    private const string Tokens = "belongs to the tokenizer or to encoder-decoder generation";

    /// <summary>Each field and why it is inert.</summary>
    public static IReadOnlyList<(string Name, string Reason)> Table { get; } =
    [
        ("_name_or_path", Provenance), ("name_or_path", Provenance), ("_commit_hash", Provenance), ("transformers_version", Provenance),
        ("torch_dtype", Storage), ("dtype", Storage), ("use_bfloat16", Storage),
        ("use_cache", Path), ("use_mambapy", Path), ("use_associative_scan", Path), ("torchscript", Path), ("_attn_implementation", Path),
        ("attn_implementation", Path), ("_attn_implementation_autoset", Path), ("_attn_implementation_internal", Path),
        ("_experts_implementation", Path), ("_experts_implementation_internal", Path), ("chunk_size_feed_forward", Path),
        ("tf_legacy_loss", Path),
        ("return_dict", Return), ("output_hidden_states", Return), ("output_attentions", Return), ("output_scores", Return),
        ("return_dict_in_generate", Return), ("_output_attentions", Return),
        ("max_length", Sampling), ("min_length", Sampling), ("do_sample", Sampling), ("early_stopping", Sampling), ("num_beams", Sampling),
        ("num_beam_groups", Sampling), ("diversity_penalty", Sampling), ("temperature", Sampling), ("top_k", Sampling), ("top_p", Sampling),
        ("typical_p", Sampling), ("repetition_penalty", Sampling), ("length_penalty", Sampling), ("no_repeat_ngram_size", Sampling),
        ("encoder_no_repeat_ngram_size", Sampling), ("bad_words_ids", Sampling), ("num_return_sequences", Sampling),
        ("remove_invalid_values", Sampling), ("exponential_decay_length_penalty", Sampling), ("suppress_tokens", Sampling),
        ("begin_suppress_tokens", Sampling), ("forced_bos_token_id", Sampling), ("forced_eos_token_id", Sampling),
        ("finetuning_task", Task), ("id2label", Task), ("label2id", Task), ("num_labels", Task), ("task_specific_params", Task),
        ("problem_type", Task), ("pruned_heads", Task),
        ("tokenizer_class", Tokens), ("prefix", Tokens), ("sep_token_id", Tokens), ("decoder_start_token_id", Tokens),
        ("cross_attention_hidden_size", Tokens),
    ];

    // Written as false into every configuration; true would mean another architecture.
    private static readonly string[] MustBeFalse = ["is_encoder_decoder", "is_decoder", "add_cross_attention", "tie_encoder_decoder"];

    public static void Accept(ConfigFields fields)
    {
        foreach ((string name, _) in Table)
        {
            fields.Ignore(name);
        }

        foreach (string name in MustBeFalse)
        {
            if (fields.Flag(name, false))
            {
                throw fields.Refused($"{name} is true: another architecture; only pure Mamba is supported");
            }
        }
    }
}
