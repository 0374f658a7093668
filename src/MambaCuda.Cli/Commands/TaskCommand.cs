using System.CommandLine;
using System.Globalization;
using System.Text;
using MambaCuda.Kernels;
using MambaCuda.Training;
using static MambaCuda.Cli.CommonOptions;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda task: the synthetic tasks of the paper's section 4.1, made, trained and measured.</summary>
internal static class TaskCommand
{
    // Evaluation must not see what training saw.
    private const ulong EvaluationSeed = 0x5EED_0F_E7A1;
    private const ulong ChoiceSeed = 0x5EED_0F_C401CE;
    private const int FewestSequences = 16;

    public static Command Create(TextWriter output, TextWriter error)
    {
        Command command = new(
            "task",
            """
            Train a small model on a synthetic task of the paper and print the paper's table.

            Examples:
              mamba-cuda task induction-heads
              mamba-cuda task selective-copying --length 256 --steps 2000 --output ./copying
            """);
        command.Subcommands.Add(SelectiveCopying(output, error));
        command.Subcommands.Add(InductionHeads(output, error));
        return command;
    }

    private static Command SelectiveCopying(TextWriter output, TextWriter error)
    {
        TaskOptions options = new(batch: 64, length: 4096, new TrainingOptions(steps: 13_000, learningRate: 2e-3, "cosine", weightDecay: 0));
        Option<int> dataTokens = WithDefault("--data-tokens", "Tokens to be repeated.", 16);
        Command command = new(
            "selective-copying",
            """
            Repeat the tokens that stand at random places among noise (section 4.1.1, table 1: 99.8 %).

            Examples:
              mamba-cuda task selective-copying
              mamba-cuda task selective-copying --length 64 --data-tokens 4 --steps 1000
            """);
        command.Options.Add(dataTokens);
        options.AddTo(command);
        command.SetAction((parsed, cancellation) => Task.Run(
            () =>
            {
                (int batch, int length, int vocabulary, ulong seed) = options.Sizes(parsed);
                int count = parsed.GetValue(dataTokens);
                SelectiveCopyingTask Make(ulong of, int sequences) =>
                    TaskOptions.Checked(() => new SelectiveCopyingTask(of, sequences, length, count, vocabulary));
                SelectiveCopyingTask evaluation = Make(seed ^ EvaluationSeed, options.EvaluationSequences(parsed));
                return options.Run(parsed, Make(seed, batch), [(length, evaluation)], "selective copying", output, error, cancellation);
            },
            cancellation));
        return command;
    }

    private static Command InductionHeads(TextWriter output, TextWriter error)
    {
        // Long after the loss at the trained length is next to nothing, ever smaller gradients still teach a model to keep what it read: so the
        // rate does not fall, and epsilon lets them count.
        TrainingOptions training = new(
            steps: 16_000, learningRate: 1e-3, "constant", weightDecay: 0, epsilon: 1e-15, checkpointEvery: 500, keepCheckpoints: 40);
        TaskOptions options = new(batch: 64, length: 256, training);
        Option<int> longest = WithDefault(
            "--longest", "The longest sequence of the evaluation, which doubles from 64 on.", 1 << 20, "TOKENS");
        Option<int?> chooseAt = new("--choose-at")
        {
            Description = "Evaluate the one of the checkpoints kept that has the least loss on sequences of this length, made from another seed "
                + "than those of the evaluation. 0: the last. Left out: the longest of the evaluation.",
            HelpName = "TOKENS",
        };
        Command command = new(
            "induction-heads",
            """
            Recall what stood behind a special token when it comes again, at lengths never trained at (section 4.1.2, table 2: perfect up to
            1,048,576 when trained at 256).

            Examples:
              mamba-cuda task induction-heads --activations fp32
              mamba-cuda task induction-heads --length 32 --steps 1000 --longest 1024
            """);
        command.Options.Add(longest);
        command.Options.Add(chooseAt);
        options.AddTo(command);
        command.SetAction((parsed, cancellation) => Task.Run(
            () =>
            {
                (int batch, int length, int vocabulary, ulong seed) = options.Sizes(parsed);
                InductionHeadsTask Make(ulong of, int sequences, int tokens) =>
                    TaskOptions.Checked(() => new InductionHeadsTask(of, sequences, tokens, vocabulary));
                List<(int, BatchSource)> evaluations = [];
                for (long tokens = 64; tokens <= parsed.GetValue(longest); tokens *= 2)
                {
                    // Of long sequences fewer are tried, so that no length takes very long.
                    int most = options.EvaluationSequences(parsed);
                    int sequences = (int)Math.Min(Math.Max((1L << 22) / tokens, FewestSequences), most);
                    evaluations.Add(((int)tokens, Make(seed ^ EvaluationSeed, sequences, (int)tokens)));
                }

                int choosing = parsed.GetValue(chooseAt) ?? (evaluations.Count == 0 ? 0 : evaluations[^1].Item1);
                BatchSource? choice = choosing == 0 ? null : Make(seed ^ ChoiceSeed, FewestSequences, choosing);
                return options.Run(parsed, Make(seed, batch, length), evaluations, "induction heads", output, error, cancellation, choice);
            },
            cancellation));
        return command;
    }

    /// <summary>The options that both tasks share, and the run itself.</summary>
    private sealed class TaskOptions(int batch, int length, TrainingOptions training)
    {
        private readonly Option<int> _batch = WithDefault("--batch", "Sequences in a batch.", batch);
        private readonly Option<int> _length = WithDefault("--length", "Tokens of a sequence in training.", length);
        private readonly Option<int> _vocabulary = WithDefault("--vocabulary", "Ids of the task, special ones included.", 16);
        private readonly Option<int> _hidden = WithDefault("--hidden", "The width of the model.", 64);
        private readonly Option<int> _layers = WithDefault("--layers", "The layers of the model.", 2);
        private readonly Option<int> _evaluate = WithDefault("--evaluate", "Sequences of the evaluation.", 64);
        private readonly Option<int> _seed = WithDefault("--seed", "Decides the weights and the data.", 1);
        private readonly DeviceOptions _device = new();

        private readonly Option<string?> _folder = new("--output", "-o")
        {
            Description = "Keep the run in this folder: checkpoints, metrics.jsonl, and the table as results.md. A run that was stopped "
                + "goes on.",
            HelpName = "DIR",
        };

        public void AddTo(Command command)
        {
            foreach (Option option in new Option[] { _batch, _length, _vocabulary, _hidden, _layers, _evaluate, _seed, _folder })
            {
                command.Options.Add(option);
            }

            training.AddTo(command);
            _device.AddTo(command);
        }

        public (int Batch, int Length, int Vocabulary, ulong Seed) Sizes(ParseResult parsed) =>
            (parsed.GetValue(_batch), parsed.GetValue(_length), parsed.GetValue(_vocabulary), (ulong)(uint)parsed.GetValue(_seed));

        public int EvaluationSequences(ParseResult parsed) => parsed.GetValue(_evaluate);

        public static T Checked<T>(Func<T> make)
        {
            try
            {
                return make();
            }
            catch (ArgumentException exception)
            {
                throw new UsageException(exception.Message, exception);
            }
        }

        public int Run(
            ParseResult parsed, BatchSource batches, IReadOnlyList<(int Length, BatchSource Batches)> evaluations, string task,
            TextWriter output, TextWriter error, CancellationToken cancellation, BatchSource? choice = null)
        {
            TrainerOptions options = training.Read(parsed);
            MambaConfig config = new()
            {
                VocabularySize = batches.VocabularySize,
                HiddenSize = parsed.GetValue(_hidden),
                LayerCount = parsed.GetValue(_layers),
            };
            string folder = parsed.GetValue(_folder) ?? Directory.CreateTempSubdirectory("mamba-cuda-task-").FullName;
            try
            {
                using Backend backend = _device.Open(parsed, error);
                string checkpoint = Train(config, backend, batches, options, folder, parsed.GetValue(_seed), error, cancellation);
                if (choice is not null)
                {
                    checkpoint = Choose(checkpoint, folder, backend, choice.Batch(0), error, cancellation);
                }

                string table = Evaluate(checkpoint, backend, evaluations, task, options, cancellation);
                output.Write(table);
                if (parsed.GetValue(_folder) is not null)
                {
                    File.WriteAllText(Path.Combine(folder, "results.md"), table);
                }

                return ExitCode.Done;
            }
            finally
            {
                if (parsed.GetValue(_folder) is null)
                {
                    Directory.Delete(folder, recursive: true);
                }
            }
        }

        private static string Train(
            MambaConfig config, Backend backend, BatchSource batches, TrainerOptions options, string folder, int seed, TextWriter error,
            CancellationToken cancellation)
        {
            using RandomWeights weights = new(config, DataType.Float32, seed);
            using TrainableModel model = new(config, weights.Tensors, backend);
            using Trainer trainer = new(model, batches, options);
            using TrainingRun run = TrainingRun.Open(folder, trainer);
            using TrainingReport report = new(error, options.Steps);
            run.Complete(report, cancellation);
            return run.Checkpoint!;
        }

        /// <summary>
        /// The checkpoint with the least loss on a batch: how far a model reaches beyond the length that it is trained at, training does not show.
        /// </summary>
        private static string Choose(
            string newest, string folder, Backend backend, TokenBatch batch, TextWriter error, CancellationToken cancellation)
        {
            (string Path, double Loss) best = (newest, double.PositiveInfinity);
            foreach (string path in TrainingCheckpoint.All(folder))
            {
                using MambaModel model = MambaModel.Load(path, backend, cancellation: cancellation);
                TaskScore score = TaskEvaluation.Measure(model, batch, cancellation);
                error.WriteLine(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{Path.GetFileName(path)}: loss {score.Loss:G4}, {score.Accuracy.Share:P2} at length {batch.Layout.MaxLength:N0}"));
                best = score.Loss < best.Loss ? (path, score.Loss) : best;
            }

            return best.Path;
        }

        private static string Evaluate(
            string checkpoint, Backend backend, IReadOnlyList<(int Length, BatchSource Batches)> evaluations, string task,
            TrainerOptions options, CancellationToken cancellation)
        {
            using MambaModel model = MambaModel.Load(checkpoint, backend, cancellation: cancellation);
            StringBuilder table = new();
            table.AppendLine(
                CultureInfo.InvariantCulture,
                $"{task}: {model.Config.LayerCount} layers, width {model.Config.HiddenSize}, {model.ParameterCount:N0} parameters, "
                + $"{options.Steps:N0} steps, of which {Path.GetFileName(checkpoint)} is evaluated").AppendLine();
            table.AppendLine("| length | sequences | answers | accuracy |").AppendLine("|---|---|---|---|");
            foreach ((int tokens, BatchSource source) in evaluations)
            {
                TokenBatch batch = source.Batch(0);
                TokenAccuracy accuracy = TaskEvaluation.Measure(model, batch, cancellation).Accuracy;
                table.AppendLine(
                    CultureInfo.InvariantCulture, $"| {tokens:N0} | {batch.Layout.Count} | {accuracy.Total:N0} | {accuracy.Share:P2} |");
            }

            return table.ToString();
        }
    }
}
