using System.CommandLine;
using System.Globalization;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda profile: where the time of one step of a model goes.</summary>
internal static class ProfileCommand
{
    private static readonly Dictionary<string, string> DefaultShapes = new()
    {
        [ProfiledStep.Prefill] = "1x2048",
        [ProfiledStep.Decode] = "1x128",
        [ProfiledStep.Train] = "1x512",
    };

    public static Command Create(TextWriter output, TextWriter error)
    {
        Options options = new();
        Command command = new(
            "profile",
            """
            Tell where the time of one step of a model goes: time, bytes, operations and percent of the device's ceiling for each operation and kernel,
            and for each layer; as a table, and as a trace for ui.perfetto.dev. Kernels are launched one by one with events between; what that costs
            is told beside. On the CPU the host's clock is read around each operation.

            A prefill runs prompts to the logits of their last tokens, decode one token for each sequence behind a prompt of the shape's length, train
            a batch forward and back and AdamW's step. Tokens are random.

            Examples:
              mamba-cuda profile
              mamba-cuda profile --what decode --size 2.8b --shape 8x128
              mamba-cuda profile --what train --size 130m --shape 8x2048 --recompute scan --layers --trace step.json
            """);
        options.AddTo(command);
        command.SetAction((parsed, cancellation) => RunAsync(options, parsed, output, error, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(
        Options options, ParseResult parsed, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        string what = parsed.GetValue(options.What)!;
        (int batch, int length) = ShapeOf(parsed.GetValue(options.Shape) ?? DefaultShapes[what]);
        int runs = parsed.GetValue(options.Runs);
        if (runs < 1)
        {
            throw new UsageException($"--runs is {runs}, but must be 1 or more.");
        }

        if (parsed.GetValue(options.Size) is not null && parsed.GetValue(options.Model) is not null)
        {
            throw new UsageException("--model names a checkpoint and --size random weights; give one of them.");
        }

        if (what != ProfiledStep.Train && parsed.GetResult(options.Recompute) is { Implicit: false })
        {
            throw new UsageException($"--recompute is of the backward pass; {what} has none.");
        }

        using BenchContext context = new(options.Device.Open(parsed, error));
        StepProfile profile = await Task.Run(
            () => Measure(options, parsed, context, what, batch, length, runs, error, cancellation), cancellation);
        await output.WriteLineAsync(ProfileTable.Text(profile, parsed.GetValue(options.Layers)));
        if (parsed.GetValue(options.Trace) is { } file)
        {
            TraceFile.Write(file, profile);
        }

        return ExitCode.Done;
    }

    private static StepProfile Measure(
        Options options, ParseResult parsed, BenchContext context, string what, int batch, int length, int runs, TextWriter error,
        CancellationToken cancellation)
    {
        DeviceCeilings ceilings;
        using (BenchTimer timer = new(context.Backend))
        {
            ceilings = DeviceCeilings.Measure(context, timer);
        }

        string? size = parsed.GetValue(options.Size);
        string folder = size is null ? ModelLoader.FolderOf(parsed.GetValue(options.Model)) : "";
        string title = string.Create(
            CultureInfo.InvariantCulture,
            $"{what}, {(size is null ? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))) : $"random weights of {size}")}, {batch} x {length} tokens");
        if (what != ProfiledStep.Train)
        {
            MambaModel model = size is null
                ? ModelLoader.Load(folder, adapter: null, context.Backend, error, cancellation)
                : MambaModel.Create(ModelSizes.Config(size), context.Weights(size).Tensors, context.Backend);
            using ProfiledStep inference = new ProfiledStep.Inference(model, batch, length, what == ProfiledStep.Decode);
            return StepProfile.Measure(title, inference, context.Backend, ceilings, runs, cancellation);
        }

        string recompute = parsed.GetValue(options.Recompute)!;
        using Checkpoint? checkpoint = size is null ? Checkpoint.Open(folder) : null;
        TrainableModel trained = new(
            checkpoint?.Config ?? ModelSizes.Config(size!), checkpoint?.Tensors ?? context.Weights(size!).Tensors, context.Backend,
            Enum.Parse<Recomputation>(recompute, ignoreCase: true));
        using ProfiledStep training = new ProfiledStep.Training(trained, batch, length);
        return StepProfile.Measure($"{title}, recomputes {recompute}", training, context.Backend, ceilings, runs, cancellation);
    }

    private static (int Batch, int Length) ShapeOf(string text)
    {
        string[] words = text.Split('x');
        return words.Length == 2 && int.TryParse(words[0], NumberStyles.None, CultureInfo.InvariantCulture, out int batch) && batch > 0
            && int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out int length) && length > 0
            && (long)batch * length <= int.MaxValue
            ? (batch, length)
            : throw new UsageException($"--shape {text}: write sequences and tokens of each, as in 8x2048.");
    }

    private sealed class Options
    {
        public Option<string> What { get; } = CommonOptions.WithDefault(
            "--what", "The step: prefill, decode or train.", ProfiledStep.Prefill, "STEP");

        public Option<string?> Model { get; } = CommonOptions.Model();

        public Option<string?> Size { get; } = new("--size")
        {
            Description = $"Random weights of a size in place of a checkpoint's: {string.Join(", ", ModelSizes.Names)}.",
            HelpName = "SIZE",
        };

        public Option<string?> Shape { get; } = new("--shape")
        {
            Description = "Sequences and tokens of each; of decode, tokens before the one that is measured. Left out: 1x2048, decode 1x128, train 1x512.",
            HelpName = "BxL",
        };

        public Option<string> Recompute { get; } = CommonOptions.WithDefault(
            "--recompute", "What the backward pass makes again: scan, mixer or block; see mamba-cuda train.", "mixer", "WHAT");

        public Option<int> Runs { get; } = CommonOptions.WithDefault("--runs", "How often the step is measured; times are medians.", 5);

        public Option<bool> Layers { get; } = new("--layers") { Description = "Show each part and layer too." };

        public Option<string?> Trace { get; } = new("--trace")
        {
            Description = "Write a trace in Chrome's format, which ui.perfetto.dev opens.",
            HelpName = "FILE",
        };

        public DeviceOptions Device { get; } = new();

        public void AddTo(Command command)
        {
            What.AcceptOnlyFromAmong(ProfiledStep.Prefill, ProfiledStep.Decode, ProfiledStep.Train);
            Size.AcceptOnlyFromAmong(ModelSizes.Names);
            Recompute.AcceptOnlyFromAmong([.. Enum.GetNames<Recomputation>().Select(name => name.ToLowerInvariant())]);
            foreach (Option option in new Option[] { What, Model, Size, Shape, Recompute, Runs, Layers, Trace })
            {
                command.Options.Add(option);
            }

            Device.AddTo(command);
        }
    }
}
