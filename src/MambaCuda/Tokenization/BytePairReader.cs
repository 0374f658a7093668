using System.Text.Json;

namespace MambaCuda;

/// <summary>
/// Reads a file of Hugging Face <c>tokenizers</c> that describes byte-level byte pair encoding. Every field is honoured or refused by name.
/// </summary>
internal static class BytePairReader
{
    // Keeps the table of tokens small whatever ids a damaged file gives.
    private const int HighestId = 1 << 22;

    public static BytePairParts Read(TokenizerFields file)
    {
        file.AllowOnly(
            "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model");
        foreach (string cut in new[] { "truncation", "padding" })
        {
            if (file.Optional(cut) is not null)
            {
                throw file.Error($"{cut} is set, which would change the ids of every text", $"Set {cut} to null in the file");
            }
        }

        TokenizerFields model = file.Of(file.Required("model", JsonValueKind.Object), "model");
        Dictionary<string, int> ids = Vocabulary(model);
        List<AddedToken> added = AddedTokens(file, ids);
        (List<int> before, List<int> after) = Surroundings(file, ids, added);
        CheckDecoder(file);
        return new BytePairParts
        {
            Ids = ids,
            Model = Model(model, ids),
            AddedTokens = added,
            NormalizesToC = NormalizesToC(file),
            PreTokenizers = PreTokenizers(file),
            Before = before,
            After = after,
        };
    }

    private static Dictionary<string, int> Vocabulary(TokenizerFields model)
    {
        if (model.OptionalText("type") is { } type && type != "BPE")
        {
            throw model.Error($"the model is of type '{type}', but only BPE is known", "Use a model with a byte-level BPE tokenizer");
        }

        Dictionary<string, int> ids = [];
        HashSet<int> taken = [];
        foreach (JsonProperty entry in model.Required("vocab", JsonValueKind.Object).EnumerateObject())
        {
            int id = model.Integer(entry.Value, $"model.vocab['{entry.Name}']");
            CheckId(model, id, entry.Name);
            if (!taken.Add(id))
            {
                throw model.Error($"model.vocab gives id {id} twice, the second time to '{entry.Name}'");
            }

            ids.Add(entry.Name, id);
        }

        return ids;
    }

    private static void CheckId(TokenizerFields fields, int id, string token)
    {
        if (id is < 0 or > HighestId)
        {
            throw fields.Error($"token '{token}' has id {id}, but ids are 0 to {HighestId}");
        }
    }

    private static BytePairModel Model(TokenizerFields model, Dictionary<string, int> ids)
    {
        model.AllowOnly(
            "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges",
            "vocab", "merges");
        if (model.Optional("dropout") is { } dropout
            && !(dropout.ValueKind == JsonValueKind.Number && dropout.TryGetDouble(out double rate) && rate == 0))
        {
            throw model.Error("model.dropout is set, which makes ids random", "Set it to null in the file");
        }

        foreach (string affix in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (!string.IsNullOrEmpty(model.OptionalText(affix)))
            {
                throw model.Error($"model.{affix} is set, which byte-level tokenizers do not use");
            }
        }

        if (model.Flag("byte_fallback", false))
        {
            throw model.Error("model.byte_fallback is set, which byte-level tokenizers do not use");
        }

        int? unknown = null;
        if (model.OptionalText("unk_token") is { } name)
        {
            unknown = ids.TryGetValue(name, out int id) ? id : throw model.Error($"model.unk_token '{name}' is not in the vocabulary");
        }

        Dictionary<ulong, BytePairModel.Merge> merges = [];
        int rank = 0;
        foreach (JsonElement merge in model.Required("merges", JsonValueKind.Array).EnumerateArray())
        {
            (string left, string right) = Pair(model, merge, rank);
            if (!ids.TryGetValue(left, out int leftId) || !ids.TryGetValue(right, out int rightId)
                || !ids.TryGetValue(left + right, out int merged))
            {
                throw model.Error($"merge {rank}, of '{left}' and '{right}', names a token that is not in the vocabulary");
            }

            // Hugging Face fills a map in order, so the last of two equal merges counts.
            merges[BytePairModel.Pair(leftId, rightId)] = new BytePairModel.Merge(rank, merged);
            rank++;
        }

        return new BytePairModel(ids, merges, model.Flag("ignore_merges", false), unknown, model.Flag("fuse_unk", false));
    }

    /// <summary>A merge is "a b", or in newer files ["a", "b"].</summary>
    private static (string Left, string Right) Pair(TokenizerFields model, JsonElement merge, int rank)
    {
        if (merge.ValueKind == JsonValueKind.Array && merge.GetArrayLength() == 2)
        {
            return (model.Text(merge[0], $"merge {rank}"), model.Text(merge[1], $"merge {rank}"));
        }

        string text = model.Text(merge, $"merge {rank}");
        int space = text.IndexOf(' ', StringComparison.Ordinal);
        return space > 0 && space < text.Length - 1 && text.LastIndexOf(' ') == space
            ? (text[..space], text[(space + 1)..])
            : throw model.Error($"merge {rank} is '{text}', but must be two tokens with a space between");
    }

    private static List<AddedToken> AddedTokens(TokenizerFields file, Dictionary<string, int> ids)
    {
        List<AddedToken> tokens = [];
        HashSet<string> contents = [];
        HashSet<int> newIds = [.. ids.Values];
        if (file.Optional("added_tokens") is null)
        {
            return tokens;
        }

        foreach (JsonElement entry in file.Required("added_tokens", JsonValueKind.Array).EnumerateArray())
        {
            TokenizerFields fields = file.Of(entry, $"added_tokens[{tokens.Count}]");
            fields.AllowOnly("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special");
            string content = fields.Text("content");
            int id = fields.OptionalInteger("id") ?? throw fields.Error($"{fields.Name} lacks the field 'id'");
            CheckId(fields, id, content);
            bool special = fields.Flag("special", false);
            if (content.Length == 0 || !contents.Add(content))
            {
                throw fields.Error($"{fields.Name}, '{content}', is empty or there twice");
            }

            if (ids.TryGetValue(content, out int inVocabulary) ? inVocabulary != id : !newIds.Add(id))
            {
                throw fields.Error($"{fields.Name}, '{content}', has id {id}, which does not agree with the other tokens");
            }

            tokens.Add(new AddedToken(
                id, content, special, fields.Flag("single_word", false), fields.Flag("lstrip", false), fields.Flag("rstrip", false),
                fields.Flag("normalized", !special)));
        }

        return tokens;
    }

    private static bool NormalizesToC(TokenizerFields file)
    {
        bool found = false;
        foreach (TokenizerFields step in Steps(file, "normalizer", "normalizers"))
        {
            step.AllowOnly("type");
            found |= step.Text("type") == "NFC" ? true : throw step.Error($"the normalizer '{step.Text("type")}' is not known; NFC is");
        }

        return found;
    }

    private static List<PreTokenizer> PreTokenizers(TokenizerFields file)
    {
        List<PreTokenizer> steps = [.. Steps(file, "pre_tokenizer", "pretokenizers").Select(PreTokenizer)];
        return steps is [.., ByteLevelPreTokenizer]
            ? steps
            : throw file.Error(
                "the last step of pre_tokenizer is not ByteLevel, so this is no byte-level tokenizer",
                "Use a model with a byte-level BPE tokenizer");
    }

    private static PreTokenizer PreTokenizer(TokenizerFields step)
    {
        switch (step.Text("type"))
        {
            case "ByteLevel":
                step.AllowOnly("type", "add_prefix_space", "trim_offsets", "use_regex");
                _ = step.Flag("trim_offsets", true);
                return new ByteLevelPreTokenizer(step.Flag("add_prefix_space", true), step.Flag("use_regex", true));
            case "Digits":
                step.AllowOnly("type", "individual_digits");
                return new CharacterPreTokenizer(
                    CharacterPreTokenizer.IsNumber, step.Flag("individual_digits", false)
                        ? DelimiterBehavior.Isolated
                        : DelimiterBehavior.Contiguous);
            case "Punctuation":
                step.AllowOnly("type", "behavior");
                return new CharacterPreTokenizer(CharacterPreTokenizer.IsPunctuation, Behavior(step));
            case "Split":
                step.AllowOnly("type", "pattern", "behavior", "invert");
                return new PatternPreTokenizer(Pattern(step), Behavior(step), step.Flag("invert", false));
            default:
                throw step.Error(
                    $"the pre-tokenizer '{step.Text("type")}' is not known; ByteLevel, Digits, Punctuation, Split and Sequence are");
        }
    }

    private static CodePointPattern Pattern(TokenizerFields step)
    {
        TokenizerFields pattern = step.Of(step.Required("pattern", JsonValueKind.Object), $"{step.Name}.pattern");
        pattern.AllowOnly("String", "Regex");
        if (pattern.OptionalText("String") is { Length: > 0 } literal)
        {
            return CodePointPattern.Literal(literal);
        }

        string regex = pattern.Text("Regex");
        try
        {
            return CodePointPattern.Parse(regex);
        }
        catch (Exception exception) when (exception is ArgumentException or NotSupportedException or FormatException)
        {
            throw pattern.Error($"{pattern.Name} '{regex}' cannot be used: {exception.Message.TrimEnd('.')}");
        }
    }

    private static DelimiterBehavior Behavior(TokenizerFields step) => (step.OptionalText("behavior") ?? "Isolated") switch
    {
        "Removed" => DelimiterBehavior.Removed,
        "Isolated" => DelimiterBehavior.Isolated,
        "MergedWithPrevious" => DelimiterBehavior.MergedWithPrevious,
        "MergedWithNext" => DelimiterBehavior.MergedWithNext,
        "Contiguous" => DelimiterBehavior.Contiguous,
        string other => throw step.Error($"{step.Name}.behavior is '{other}', which is not known"),
    };

    /// <summary>The ids that a post-processor puts around a text.</summary>
    private static (List<int> Before, List<int> After) Surroundings(
        TokenizerFields file, Dictionary<string, int> ids, List<AddedToken> added)
    {
        List<int> before = [], after = [];
        foreach (TokenizerFields step in Steps(file, "post_processor", "processors"))
        {
            switch (step.Text("type"))
            {
                case "ByteLevel":
                    // It only moves the offsets of tokens, which nobody asks for here.
                    step.AllowOnly("type", "add_prefix_space", "trim_offsets", "use_regex");
                    break;
                case "TemplateProcessing":
                    Template(step, id => ids.ContainsValue(id) || added.Exists(token => token.Id == id), before, after);
                    break;
                default:
                    throw step.Error(
                        $"the post-processor '{step.Text("type")}' is not known; ByteLevel, TemplateProcessing and Sequence are");
            }
        }

        return (before, after);
    }

    private static void Template(TokenizerFields step, Predicate<int> isToken, List<int> before, List<int> after)
    {
        step.AllowOnly("type", "single", "pair", "special_tokens");
        JsonElement specials = step.Required("special_tokens", JsonValueKind.Object);
        List<int> around = before;
        bool text = false;
        foreach (JsonElement piece in step.Required("single", JsonValueKind.Array).EnumerateArray())
        {
            TokenizerFields fields = step.Of(piece, $"{step.Name}.single");
            fields.AllowOnly("Sequence", "SpecialToken");
            if (fields.Optional("Sequence") is not null)
            {
                around = !text ? after : throw step.Error($"{step.Name}.single has the text twice");
                text = true;
                continue;
            }

            string name = fields.Of(fields.Required("SpecialToken", JsonValueKind.Object), $"{step.Name}.single.SpecialToken").Text("id");
            if (!specials.TryGetProperty(name, out JsonElement special))
            {
                throw step.Error($"{step.Name}.single names '{name}', which is not among its special_tokens");
            }

            foreach (JsonElement id in step.Of(special, $"{step.Name}.special_tokens['{name}']").Required("ids", JsonValueKind.Array)
                .EnumerateArray())
            {
                int number = step.Integer(id, $"{step.Name}.special_tokens['{name}'].ids");
                around.Add(isToken(number)
                    ? number
                    : throw step.Error($"{step.Name}.special_tokens['{name}'] has id {number}, which no token has"));
            }
        }

        if (!text)
        {
            throw step.Error($"{step.Name}.single has no place for the text");
        }
    }

    private static void CheckDecoder(TokenizerFields file)
    {
        List<TokenizerFields> steps = [.. Steps(file, "decoder", "decoders")];
        if (steps.Count != 1 || steps[0].Text("type") != "ByteLevel")
        {
            throw file.Error(
                "the decoder is not ByteLevel alone, so this is no byte-level tokenizer", "Use a model with a byte-level BPE tokenizer");
        }
    }

    /// <summary>A field that holds one step, or a Sequence of steps, or nothing.</summary>
    private static IEnumerable<TokenizerFields> Steps(TokenizerFields file, string field, string listName)
    {
        if (file.Optional(field) is not { } value)
        {
            yield break;
        }

        TokenizerFields only = file.Of(value, field);
        if (only.Text("type") != "Sequence")
        {
            yield return only;
            yield break;
        }

        only.AllowOnly("type", listName);
        int number = 0;
        foreach (JsonElement step in only.Required(listName, JsonValueKind.Array).EnumerateArray())
        {
            yield return file.Of(step, $"{field}[{number++}]");
        }
    }
}
