using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text;
using System.Text.Json;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda generate: continues a prompt.</summary>
internal static class GenerateCommand
{
    public static Command Create(TextWriter output, TextWriter error)
    {
        Options options = new();
        Command command = new(
            "generate",
            """
            Continue a prompt. The text appears as it is made.

            Examples:
              mamba-cuda generate "Gets or sets the"
              echo "Once upon a time" | mamba-cuda generate --model DIR --max-tokens 200
              mamba-cuda generate --model DIR --prompt-file story.txt --temperature 0.8 --top-p 0.95 --seed 7
              mamba-cuda generate --model DIR --prompt-ids 12092,1533 --temperature 0 --json
              mamba-cuda generate --model DIR "A long text" --save-state s.state; mamba-cuda generate --model DIR --load-state s.state
              mamba-cuda generate --model DIR --prompt-file book.txt --prompt-cache ~/.cache/prompts
              mamba-cuda generate --model mamba-2.8b --draft mamba-130m --draft-tokens 4 --temperature 0 --verbose "The capital of France"
            """);
        options.AddTo(command);
        command.SetAction((parsed, cancellation) => RunAsync(options, parsed, output, error, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(
        Options options, ParseResult parsed, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        GenerationRequest request = await RequestAsync(options, parsed, cancellation);
        PromptCacheOptions? kept = Kept(options, parsed);
        TextGeneratorOptions generating = Generating(options, parsed);
        using Backend backend = options.Device.Open(parsed, error);
        string folder = ModelLoader.FolderOf(parsed.GetValue(options.Model));
        Tokenizer tokenizer = LoadTokenizer(parsed.GetValue(options.Tokenizer) ?? folder, request);
        using MambaModel model = ModelLoader.Load(folder, parsed.GetValue(options.Adapter), backend, error, cancellation);
        using MambaModel? draft =
            parsed.GetValue(options.Draft) is { } small ? ModelLoader.Load(small, adapter: null, backend, error, cancellation) : null;
        using MambaState state = model.CreateState();
        using MambaState? draftState = draft?.CreateState();
        bool knowsPast = true;
        if (parsed.GetValue(options.LoadState) is { } stateToLoad)
        {
            state.Load(stateToLoad);
            knowsPast = File.Exists(DraftFileOf(stateToLoad));
            if (knowsPast)
            {
                draftState?.Load(DraftFileOf(stateToLoad));
            }
        }

        using PromptCache? cache = kept is null ? null : new PromptCache(model, kept);
        bool json = parsed.GetValue(options.Json);
        bool stream = parsed.GetValue(options.Stream) && !json;
        int[] promptIds = request.PromptIds is { } ids ? [.. ids] : tokenizer.Encode(request.Prompt ?? "");
        request = request with { Prompt = null, PromptIds = promptIds, State = state, DraftState = knowsPast ? draftState : null };
        if (!json && request.PromptIds.Count > 0)
        {
            await output.WriteAsync(tokenizer.Decode(promptIds));
        }

        List<GeneratedToken> tokens = [];
        StringBuilder text = new();
        TextGenerator generator = Generator(model, tokenizer, generating with { Cache = cache, Draft = draft });
        await foreach (GeneratedToken token in generator.GenerateAsync(request, cancellation))
        {
            tokens.Add(token);
            text.Append(token.Text);
            if (stream)
            {
                await output.WriteAsync(token.Text);
                await output.FlushAsync(cancellation);
            }
        }

        if (json)
        {
            await WriteJsonAsync(output, promptIds, tokens, text.ToString());
        }
        else
        {
            await output.WriteLineAsync(stream ? "" : text.ToString());
        }

        if (draft is not null && parsed.GetValue(CommonOptions.Verbose))
        {
            DraftCounts counts = generator.DraftCounts;
            await error.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"draft: {counts.Accepted} of {counts.Proposed} tokens accepted ({counts.AcceptedShare:p0}); {tokens.Count} tokens from "
                + $"the prompt and {counts.Passes} passes"));
        }

        if (parsed.GetValue(options.SaveState) is { } stateToSave)
        {
            state.Save(stateToSave);
            if (knowsPast)
            {
                draftState?.Save(DraftFileOf(stateToSave));
            }
        }

        cache?.Dispose();
        if (cache?.WriteFailure is { } failure)
        {
            await error.WriteLineAsync($"--prompt-cache: the prompt was not kept. {failure.Message}");
        }

        return ExitCode.Done;
    }

    /// <summary>Where the state of a draft lies, beside the model's.</summary>
    private static string DraftFileOf(string stateFile) => stateFile + ".draft";

    private static TextGenerator Generator(MambaModel model, Tokenizer tokenizer, TextGeneratorOptions options)
    {
        try
        {
            return new TextGenerator(model, tokenizer, options);
        }
        catch (ArgumentException exception) when (options.Draft is not null)
        {
            throw new UsageException($"--draft: {exception.Message}", exception);
        }
    }

    private static TextGeneratorOptions Generating(Options options, ParseResult parsed)
    {
        int draftTokens = parsed.GetValue(options.DraftTokens), chunk = parsed.GetValue(options.PromptChunk);
        if (draftTokens is < 1 or > TextGeneratorOptions.MostDraftTokens)
        {
            throw new UsageException($"--draft-tokens is {draftTokens}, but must be 1 to {TextGeneratorOptions.MostDraftTokens}.");
        }

        if (parsed.GetValue(options.Draft) is null && parsed.GetResult(options.DraftTokens) is { Implicit: false })
        {
            throw new UsageException("--draft-tokens is how many tokens a draft proposes at once; name one with --draft.");
        }

        if (chunk < 1)
        {
            throw new UsageException($"--prompt-chunk is {chunk}, but must be 1 or more.");
        }

        return new TextGeneratorOptions { DraftTokens = draftTokens, PromptChunkTokens = chunk };
    }

    private static PromptCacheOptions? Kept(Options options, ParseResult parsed)
    {
        if (parsed.GetValue(options.PromptCache) is not { } folder)
        {
            return null;
        }

        if (parsed.GetValue(options.LoadState) is not null)
        {
            throw new UsageException("--prompt-cache is for prompts that start anew; leave it or --load-state out.");
        }

        int mebibytes = parsed.GetValue(options.PromptCacheSize);
        if (mebibytes < 0)
        {
            throw new UsageException($"--prompt-cache-size is {mebibytes}, but must be 0 or more.");
        }

        // One prompt and its text are all that this process has in memory.
        return new PromptCacheOptions { Folder = folder, MaxDiskBytes = (long)mebibytes << 20, MaxMemoryBytes = long.MaxValue };
    }

    private static async Task<GenerationRequest> RequestAsync(Options options, ParseResult parsed, CancellationToken cancellation)
    {
        GenerationRequest request = new()
        {
            MaxTokens = parsed.GetValue(options.MaxTokens),
            StopStrings = parsed.GetValue(options.Stop) ?? [],
            StopTokens = parsed.GetValue(options.StopTokens) ?? [],
            IgnoreEndOfText = parsed.GetValue(options.IgnoreEndOfText),
            Sampling = new SamplingOptions
            {
                Temperature = parsed.GetValue(options.Temperature),
                TopK = parsed.GetValue(options.TopK),
                TopP = parsed.GetValue(options.TopP),
                MinP = parsed.GetValue(options.MinP),
                RepetitionPenalty = parsed.GetValue(options.RepetitionPenalty),
                PresencePenalty = parsed.GetValue(options.PresencePenalty),
                FrequencyPenalty = parsed.GetValue(options.FrequencyPenalty),
                Seed = parsed.GetValue(options.Seed),
            },
        };
        try
        {
            request.Sampling.Validate();
            ArgumentOutOfRangeException.ThrowIfLessThan(request.MaxTokens, 1, "--max-tokens");
            _ = new StopMatcher(request.StopStrings);
        }
        catch (ArgumentException exception)
        {
            throw new UsageException(exception.Message, exception);
        }

        string? argument = parsed.GetValue(options.Prompt), file = parsed.GetValue(options.PromptFile);
        string? ids = parsed.GetValue(options.PromptIds);
        if (argument is ['-', '-', ..] && !parsed.Tokens.Any(token => token.Type == TokenType.DoubleDash))
        {
            throw new UsageException($"There is no option {argument}. A prompt that begins with two dashes goes after a lone --.");
        }

        if (new[] { argument, file, ids }.Count(given => given is not null) > 1)
        {
            throw new UsageException("Give the prompt once: as an argument, with --prompt-file or with --prompt-ids.");
        }

        if (ids is not null)
        {
            return request with { PromptIds = ParseIds(ids) };
        }

        string? prompt = argument
            ?? (file is not null ? await File.ReadAllTextAsync(file, cancellation)
            : Console.IsInputRedirected ? (await Console.In.ReadToEndAsync(cancellation)).TrimEnd('\n', '\r')
            : null);
        if (string.IsNullOrEmpty(prompt) && parsed.GetValue(options.LoadState) is null)
        {
            throw new UsageException(
                "There is no prompt: give one as an argument, with --prompt-file, with --prompt-ids or on standard input.");
        }

        return request with { Prompt = prompt ?? "" };
    }

    private static int[] ParseIds(string list)
    {
        string[] words = list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        int[] ids = new int[words.Length];
        for (int i = 0; i < words.Length; i++)
        {
            if (!int.TryParse(words[i], NumberStyles.None, CultureInfo.InvariantCulture, out ids[i]))
            {
                throw new UsageException($"--prompt-ids: '{words[i]}' is not a token id; write numbers with commas between them.");
            }
        }

        return ids;
    }

    /// <summary>A model without a tokenizer can still continue ids.</summary>
    private static Tokenizer LoadTokenizer(string path, GenerationRequest request)
    {
        bool present = ModelLoader.TokenizerFileOf(path) is not null;
        return present || request.PromptIds is null ? Tokenizer.Load(path) : new WithoutText();
    }

    private static async Task WriteJsonAsync(TextWriter output, int[] promptIds, List<GeneratedToken> tokens, string text)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
        {
            writer.WriteStartObject();
            WriteIds(writer, "prompt_ids", promptIds);
            WriteIds(writer, "ids", tokens.Select(token => token.Id));
            writer.WriteString("text", text);
            writer.WriteStartArray("log_probabilities");
            foreach (GeneratedToken token in tokens)
            {
                writer.WriteNumberValue(token.LogProbability);
            }

            writer.WriteEndArray();
            writer.WriteString("finish_reason", tokens[^1].FinishReason switch
            {
                FinishReason.MaxTokens => "max_tokens",
                FinishReason.StopToken => "stop_token",
                _ => "stop_string",
            });
            writer.WriteEndObject();
        }

        await output.WriteLineAsync(Encoding.UTF8.GetString(buffer.ToArray()));
    }

    private static void WriteIds(Utf8JsonWriter writer, string name, IEnumerable<int> ids)
    {
        writer.WriteStartArray(name);
        foreach (int id in ids)
        {
            writer.WriteNumberValue(id);
        }

        writer.WriteEndArray();
    }

    private sealed class Options
    {
        public Argument<string?> Prompt { get; } = new("prompt")
        {
            Description = "The text to continue; left out, it is read from --prompt-file, --prompt-ids or standard input.",
            Arity = ArgumentArity.ZeroOrOne,
        };

        public Option<string?> Model { get; } = CommonOptions.Model();

        public Option<string?> Adapter { get; } = CommonOptions.Adapter();

        public Option<string?> Tokenizer { get; } = CommonOptions.Tokenizer();

        public DeviceOptions Device { get; } = new();

        public Option<string?> PromptFile { get; } = new("--prompt-file", "-f")
        {
            Description = "A file with the prompt.",
            HelpName = "FILE",
        };

        public Option<string?> PromptIds { get; } = new("--prompt-ids")
        {
            Description = "The prompt as token ids: 1,2,3.",
            HelpName = "IDS",
        };

        public Option<int> MaxTokens { get; } = new("--max-tokens", "-n")
        {
            Description = "How many tokens at most.",
            DefaultValueFactory = _ => 256,
            HelpName = "N",
        };

        public Option<float> Temperature { get; } = Number("--temperature", "Logits are divided by it; 0 is greedy.", 0.7f);

        public Option<int> TopK { get; } = new("--top-k")
        {
            Description = "Only the N most probable tokens; 0 for all.",
            HelpName = "N",
            DefaultValueFactory = _ => 0,
        };

        public Option<float> TopP { get; } = Number("--top-p", "Only the most probable tokens that together reach this probability.", 1);

        public Option<float> MinP { get; } =
            Number("--min-p", "Only tokens at least this many times as probable as the most probable one.", 0);

        public Option<float> RepetitionPenalty { get; } =
            Number("--repetition-penalty", "Makes tokens seen before less probable; 1 for none.", 1);

        public Option<float> PresencePenalty { get; } = Number("--presence-penalty", "Taken from the logits of tokens seen before.", 0);

        public Option<float> FrequencyPenalty { get; } =
            Number("--frequency-penalty", "Taken from a token's logit for each time it was seen.", 0);

        public Option<ulong?> Seed { get; } = new("--seed")
        {
            Description = "The same seed gives the same text; left out, one is drawn.",
            HelpName = "N",
        };

        public Option<string[]> Stop { get; } = new("--stop")
        {
            Description = "End where this text comes; may be given several times.",
            HelpName = "TEXT",
        };

        public Option<int[]> StopTokens { get; } = new("--stop-token")
        {
            Description = "End at this token id; may be given several times.",
            HelpName = "ID",
        };

        public Option<bool> IgnoreEndOfText { get; } = new("--ignore-eos") { Description = "Go on past the token that ends a text." };

        public Option<bool> Stream { get; } = new("--stream")
        {
            Description = "Show the text as it is made (default); --stream false shows it at the end.",
            DefaultValueFactory = _ => true,
        };

        public Option<bool> Json { get; } = CommonOptions.Json();

        public Option<string?> SaveState { get; } = new("--save-state")
        {
            Description = "Save the state at the end of the text to a file; a draft's beside it, as FILE.draft.",
            HelpName = "FILE",
        };

        public Option<string?> LoadState { get; } = new("--load-state")
        {
            Description = "Go on from a saved state, a draft from FILE.draft if it is there; the prompt, if any, follows it.",
            HelpName = "FILE",
        };

        public Option<string?> PromptCache { get; } = new("--prompt-cache")
        {
            Description = "Keep the states behind the prompt and behind the text in this folder, and go on from the longest that a prompt "
                + "begins with.",
            HelpName = "DIR",
        };

        public Option<int> PromptCacheSize { get; } = new("--prompt-cache-size")
        {
            Description = "How much the folder keeps of a model, in MiB; what was used the longest ago goes first.",
            HelpName = "MIB",
            DefaultValueFactory = _ => 4096,
        };

        public Option<string?> Draft { get; } = new("--draft")
        {
            Description = "A folder with a smaller model of the same vocabulary that proposes tokens, which the model checks several at once "
                + "(speculative decoding). The text stays the model's own, at any temperature. --verbose tells how many were accepted.",
            HelpName = "DIR",
        };

        public Option<int> DraftTokens { get; } = CommonOptions.WithDefault(
            "--draft-tokens", $"How many tokens the draft proposes at once, 1 to {TextGeneratorOptions.MostDraftTokens}.",
            new TextGeneratorOptions().DraftTokens);

        public Option<int> PromptChunk { get; } = CommonOptions.WithDefault(
            "--prompt-chunk", "How many tokens of the prompt run at once; cancelling and memory wait for so many at most.",
            new TextGeneratorOptions().PromptChunkTokens);

        public void AddTo(Command command)
        {
            command.Arguments.Add(Prompt);
            foreach (Option option in new Option[]
            {
                Model, Adapter, Tokenizer, PromptFile, PromptIds, MaxTokens, Temperature, TopK, TopP, MinP, RepetitionPenalty, PresencePenalty,
                FrequencyPenalty, Seed, Stop, StopTokens, IgnoreEndOfText, Stream, Json, SaveState, LoadState,
                PromptCache, PromptCacheSize, Draft, DraftTokens, PromptChunk,
            })
            {
                command.Options.Add(option);
            }

            Device.AddTo(command);
        }

        private static Option<float> Number(string name, string description, float value) => new(name)
        {
            Description = description,
            DefaultValueFactory = _ => value,
            HelpName = "X",
        };
    }
}
