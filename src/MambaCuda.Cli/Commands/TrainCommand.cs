using System.CommandLine;
using System.Globalization;
using MambaCuda.Kernels;
using MambaCuda.Training;
using static MambaCuda.Cli.CommonOptions;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda train: a model from scratch, or a checkpoint further, on a token file or texts.</summary>
internal static class TrainCommand
{
    public static Command Create(TextWriter output, TextWriter error)
    {
        Options options = new();
        Command command = new(
            "train",
            """
            Train a model on texts or a file of tokens: AdamW, a learning rate with warm-up, gradients of the whole model, or of low-rank
            adapters alone (--lora-rank; checkpoints then hold the adapter, for --adapter of other commands and for PEFT). Stopping it
            (Ctrl+C) saves a checkpoint; the same command goes on from there, and ends with the very weights of a run that was never
            stopped. Texts are made into tokens as by mamba-cuda tokenize, into a file of the run's folder. Its recipe.json repeats the run:
            with another --output from the start, without one it goes on.

            Examples:
              mamba-cuda train book.txt articles.jsonl --output ./small-model --hidden 128 --layers 4 --length 256
              mamba-cuda train book.tokens --output ./book-model --hidden 128 --layers 4 --steps 500
              mamba-cuda train book.tokens --output ./book-model --config ./config.json --held-out other.tokens --validate-every 100
              mamba-cuda train book.tokens --output ./tuned --from ./mamba-130m-hf --learning-rate 1e-4
              mamba-cuda train book.txt --output ./lora --from ./mamba-130m-hf --lora-rank 16 --lora-alpha 32 --learning-rate 2e-4
              mamba-cuda train --recipe ./book-model/recipe.json --output ./slower --learning-rate 5e-4
            """);
        options.AddTo(command);
        command.SetAction((parsed, cancellation) => Task.Run(
            () => Run(
                options,
                parsed.GetValue(options.Recipe) is { } recipe ? TrainingRecipe.Complete(recipe, parsed, options.Recipe) : parsed,
                output, error, cancellation),
            cancellation));
        return command;
    }

    private static int Run(Options options, ParseResult parsed, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        TrainerOptions training = options.Training.Read(parsed);
        CheckModel(options, parsed);
        LoraSettings? adapter = options.Lora.Read(parsed, parsed.GetValue(options.From));
        string folder = parsed.GetValue(options.Folder)
            ?? throw new UsageException("Option '--output' is required, on the command line or in a recipe. Try --help.");
        string[] inputs = parsed.GetValue(options.Data) is { Length: > 0 } given
            ? given
            : throw new UsageException("Required argument 'data' missing, on the command line or in a recipe. Try --help.");
        string? from = parsed.GetValue(options.From);
        using Checkpoint? start = from is null ? null : Checkpoint.Open(from);
        using TrainingData data = TrainingData.Open(
            inputs, parsed.GetValue(options.Tokenizer), from, parsed.GetValue(options.Field), folder, error,
            cancellation);
        using TokenFile? heldOutFile = HeldOutFile(options, parsed, data.File);
        (BatchSource batches, BatchSource? heldOut) = Batches(options, parsed, training, data.File, heldOutFile);
        using Backend backend = options.Device.Open(parsed, error);
        MambaConfig config = start?.Config ?? NewModel(options, parsed, data.File);
        using RandomWeights? weights = start is null ? new(config, DataType.Float32, parsed.GetValue(options.Seed)) : null;
        Recomputation recomputation = Enum.Parse<Recomputation>(parsed.GetValue(options.Recompute)!, ignoreCase: true);
        IReadOnlyDictionary<string, StoredTensor> tensors = start?.Tensors ?? weights!.Tensors;
        using TrainableModel model = adapter is null
            ? new(config, tensors, backend, recomputation)
            : new(config, tensors, backend, adapter, parsed.GetValue(options.Seed), recomputation);
        using Trainer trainer = new(model, batches, training, heldOut);
        using TrainingRun run = TrainingRun.Open(folder, trainer, data.Companions);
        data.DeleteEarlier(folder);
        TrainingRecipe.Save(folder, parsed, options.Recipe, InForce(options, parsed, training, data.IsOfTexts));
        using (TrainingReport report = new(error, training.Steps))
        {
            run.Complete(report, cancellation);
        }

        output.WriteLine(run.Checkpoint);
        return ExitCode.Done;
    }

    /// <summary>Refuses options of the new model where another one decides about it.</summary>
    private static void CheckModel(Options options, ParseResult parsed)
    {
        (Option Decides, Option[] Decided)[] rules =
        [
            (options.From, [options.Config, options.Size, options.Hidden, options.Layers]),
            (options.Config, [options.Size, options.Hidden, options.Layers]),
            (options.Size, [options.Hidden, options.Layers]),
        ];
        foreach ((Option decides, Option[] decided) in rules)
        {
            if (TrainingRecipe.IsGiven(parsed, decides)
                && Array.Find(decided, option => TrainingRecipe.IsGiven(parsed, option)) is { } superfluous)
            {
                throw new UsageException($"{decides.Name} says what the model is: leave {superfluous.Name} out, here and in the recipe.");
            }
        }
    }

    /// <summary>What the recipe of the run says other than the command line: whole paths, and nothing that was not asked.</summary>
    private static Dictionary<string, object?> InForce(Options options, ParseResult parsed, TrainerOptions training, bool isOfTexts)
    {
        string? from = parsed.GetValue(options.From), config = parsed.GetValue(options.Config), size = parsed.GetValue(options.Size);
        string? heldOut = parsed.GetValue(options.HeldOut);
        string? tokenizer = parsed.GetValue(options.Tokenizer) ?? (isOfTexts && from is null ? ModelLoader.Bytes : null);
        Dictionary<string, object?> values = new(TrainingOptions.Derived(training))
        {
            ["data"] = parsed.GetValue(options.Data)!.Select(Path.GetFullPath),
            ["output"] = Path.GetFullPath(parsed.GetValue(options.Folder)!),
            ["tokenizer"] = tokenizer is null or ModelLoader.Bytes ? tokenizer : Path.GetFullPath(tokenizer),
            ["field"] = isOfTexts ? parsed.GetValue(options.Field) ?? new CorpusOptions().Field : null,
            ["from"] = from is null ? null : Path.GetFullPath(from),
            ["config"] = config is null ? null : Path.GetFullPath(config),
            ["held-out"] = heldOut is null ? null : Path.GetFullPath(heldOut),
        };
        foreach ((string name, object? value) in options.Lora.Derived(parsed))
        {
            values[name] = value;
        }

        if (from is not null || config is not null || size is not null)
        {
            values["hidden"] = values["layers"] = null;
        }

        if (heldOut is not null)
        {
            values["hold-out"] = null;
        }

        return values;
    }

    private static (BatchSource Batches, BatchSource? HeldOut) Batches(
        Options options, ParseResult parsed, TrainerOptions training, TokenFile file, TokenFile? heldOutFile)
    {
        int batch = parsed.GetValue(options.Batch), length = parsed.GetValue(options.Length);
        ulong seed = (uint)parsed.GetValue(options.Seed);
        double share = parsed.GetValue(options.HoldOut);
        if (heldOutFile is not null)
        {
            return (Of(file.All, seed), training.ValidateEvery == 0 ? null : Of(heldOutFile.All, order: null));
        }

        if (share == 0)
        {
            return training.ValidateEvery == 0
                ? (Of(file.All, seed), null)
                : throw new UsageException($"--validate-every {training.ValidateEvery} needs a part to measure, but --hold-out is 0.");
        }

        (TokenSlice learned, TokenSlice heldOut) = HeldOut(file.All, share);
        return (Of(learned, seed), training.ValidateEvery == 0 ? null : OfHeldOut());

        BatchSource Of(TokenSlice slice, ulong? order)
        {
            try
            {
                return parsed.GetValue(options.Pack)
                    ? new PackedBatches(slice, checked(batch * length), order)
                    : new ContiguousBatches(slice, batch, length, order);
            }
            catch (ArgumentException exception)
            {
                throw new UsageException(exception.Message, exception);
            }
        }

        BatchSource OfHeldOut()
        {
            try
            {
                return Of(heldOut, order: null);
            }
            catch (TokenFileException exception)
            {
                throw new UsageException(
                    string.Create(CultureInfo.InvariantCulture, $"--hold-out {share} is too little: {exception.Message}"), exception);
            }
        }
    }

    private static TokenFile? HeldOutFile(Options options, ParseResult parsed, TokenFile data)
    {
        if (parsed.GetValue(options.HeldOut) is not { } path)
        {
            return null;
        }

        if (TrainingRecipe.IsGiven(parsed, options.HoldOut))
        {
            throw new UsageException("--held-out names what is measured: leave --hold-out out, here and in the recipe.");
        }

        TokenFile file = TokenFile.Open(path);
        if (!file.Fingerprint.SequenceEqual(data.Fingerprint))
        {
            file.Dispose();
            throw new UsageException($"{path} was made by another tokenizer than what is trained on; make it again by the same one.");
        }

        return file;
    }

    private static (TokenSlice Training, TokenSlice HeldOut) HeldOut(TokenSlice all, double share)
    {
        try
        {
            return all.HoldOut(share);
        }
        catch (ArgumentException exception)
        {
            throw new UsageException($"--hold-out: {exception.Message}", exception);
        }
    }

    /// <summary>Vocabularies are padded to a multiple of 8, as the published models' are: matrix units want it.</summary>
    private static MambaConfig NewModel(Options options, ParseResult parsed, TokenFile file)
    {
        if (parsed.GetValue(options.Config) is { } path)
        {
            return MambaConfig.Load(path);
        }

        int vocabulary = (file.VocabularySize + 7) / 8 * 8;
        MambaConfig config = parsed.GetValue(options.Size) is { } size
            ? ModelSizes.Config(size) with { VocabularySize = vocabulary }
            : new MambaConfig
            {
                VocabularySize = vocabulary,
                HiddenSize = parsed.GetValue(options.Hidden),
                LayerCount = parsed.GetValue(options.Layers),
            };
        config = file.EndOfDocument is { } end ? config with { EosTokenIds = [end] } : config;
        config.Validate("the new model");
        return config;
    }

    private sealed class Options
    {
        public Argument<string[]> Data { get; } = new("data")
        {
            Description = "A file of tokens, made by mamba-cuda tokenize; or texts in UTF-8, JSON lines (.jsonl), and folders of both.",
            Arity = ArgumentArity.ZeroOrMore,
        };

        public Option<string?> Folder { get; } = new("--output", "-o")
        {
            Description = "The run's folder: checkpoints that every command loads, metrics.jsonl and recipe.json. A run that was stopped "
                + "goes on from its newest checkpoint. Needed here or in the recipe.",
            HelpName = "DIR",
        };

        public Option<string?> Recipe { get; } = TrainingRecipe.Option();

        public Option<string?> Tokenizer { get; } = new("--tokenizer")
        {
            Description = "The tokenizer of the texts or of the token file, of which every checkpoint gets a copy: a tokenizer.json, a "
                + "folder with one, or bytes. Left out: that of --from; else bytes for texts, none for tokens.",
            HelpName = "PATH",
        };

        public Option<string?> Field { get; } = new("--field")
        {
            Description = "The field of a JSON line that holds the text. Left out: text.",
            HelpName = "NAME",
        };

        public Option<string?> From { get; } = new("--from")
        {
            Description = "Train this checkpoint further. Left out: a new model of --config, of --size, or of --hidden and --layers.",
            HelpName = "DIR",
        };

        public Option<string?> Config { get; } = new("--config")
        {
            Description = "The config.json that a new model is made by: all its sizes, and the tokens that end a text.",
            HelpName = "FILE",
        };

        public Option<string?> Size { get; } = new("--size") { Description = "A size of the paper for a new model.", HelpName = "NAME" };

        public Option<int> Hidden { get; } = WithDefault("--hidden", "The width of a new model.", 256);

        public Option<int> Layers { get; } = WithDefault("--layers", "The layers of a new model.", 8);

        public Option<int> Batch { get; } = WithDefault("--batch", "Sequences in a batch.", 8);

        public Option<int> Length { get; } = WithDefault(
            "--length", "Tokens in a sequence; with --pack, a batch has --batch times as many.", 512);

        public Option<bool> Pack { get; } = new("--pack")
        {
            Description = "Make each document a sequence of its own, packed into batches without padding, in place of pieces of one "
                + "stream.",
        };

        public Option<double> HoldOut { get; } = WithDefault(
            "--hold-out", "The share of the tokens, the last ones, that is not trained on but measured by --validate-every; 0 for none.",
            0.01, "SHARE");

        public Option<string?> HeldOut { get; } = new("--held-out")
        {
            Description = "A token file that --validate-every measures in place of a share, as tokenize --held-out makes it.",
            HelpName = "FILE",
        };

        public Option<int> Seed { get; } = WithDefault("--seed", "Decides a new model's weights, or an adapter's, and the order of the data.", 1);

        public Option<string> Recompute { get; } = WithDefault(
            "--recompute",
            "What the backward pass makes again instead of having it kept: scan (the fastest), mixer (norm, convolution and delta too: a "
                + "quarter less memory, 4 % slower) or block (all but each layer's residual stream: the least memory, a third more arithmetic).",
            "mixer", "WHAT");

        public LoraOptions Lora { get; } = new();

        public TrainingOptions Training { get; } = new(steps: 1000, learningRate: 1e-3, "cosine");

        public DeviceOptions Device { get; } = new();

        public void AddTo(Command command)
        {
            Recompute.AcceptOnlyFromAmong([.. Enum.GetNames<Recomputation>().Select(name => name.ToLowerInvariant())]);
            Size.AcceptOnlyFromAmong([.. ModelSizes.Names]);
            command.Arguments.Add(Data);
            foreach (Option option in new Option[]
            {
                Folder, Recipe, Tokenizer, Field, From, Config, Size, Hidden, Layers, Batch, Length, Pack, HoldOut, HeldOut, Seed,
                Recompute,
            })
            {
                command.Options.Add(option);
            }

            Lora.AddTo(command);
            Training.AddTo(command);
            Device.AddTo(command);
        }
    }
}
