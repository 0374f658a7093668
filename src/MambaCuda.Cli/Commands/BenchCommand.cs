using System.CommandLine;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda bench: how long operations and whole passes take.</summary>
internal static class BenchCommand
{
    private const string DefaultResults = "bench/results";

    public static Command Create(TextWriter output, TextWriter error)
    {
        Options options = new();
        string operations = string.Join("\n", BenchOperation.All.Select(operation =>
            $"  {operation.Name,-14} {operation.ShapeHelp}{(operation.Variants.Count == 0 ? "" : $"; --variant {string.Join(", ", operation.Variants)}")}"));
        Command command = new(
            "bench",
            $"""
            Measure an operation, or a suite of them: median, least and greatest time of runs after warming up, and what share of the card's ceiling (bandwidth,
            tensor cores or special functions, measured in the same invocation) that is. Operands of successive runs lie apart, so that none is found in the cache.

            Operations and their shapes:
            {operations}

            gradients holds a model's projections in the activation type alone and their gradients in float32; --variant step has float32
            weights and moments too, and takes AdamW's step.

            Suites: {string.Join(", ", BenchSuites.All.Keys)}

            Examples:
              mamba-cuda bench scan --shape 8x2048x2048 --dtype bf16
              mamba-cuda bench linear --shape 16384x2560x10240 --variant own --json linear.json
              mamba-cuda bench prefill --model 130m --shape 8x2048
              mamba-cuda bench --suite scan --suite ops --out bench/results
              mamba-cuda bench --render bench/results
              mamba-cuda bench --report bench/results
            """);
        options.AddTo(command);
        command.SetAction((parsed, cancellation) => RunAsync(options, parsed, output, error, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Options options, ParseResult parsed, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        string? operation = parsed.GetValue(options.Operation), folder = parsed.GetValue(options.Render);
        bool reports = parsed.GetResult(options.Report) is { Implicit: false };
        string[] suites = parsed.GetValue(options.Suite) ?? [];
        if (new[] { operation is not null, suites.Length > 0, folder is not null, reports }.Count(given => given) != 1)
        {
            throw new UsageException("Name an operation, or give --suite, --render or --report; one of them.");
        }

        if (folder is not null)
        {
            BenchTable.Render(folder);
            return ExitCode.Done;
        }

        if (reports)
        {
            await output.WriteLineAsync(ReportPage.Write(parsed.GetValue(options.Report) ?? DefaultResults));
            return ExitCode.Done;
        }

        bool onCpu = suites.Contains(BenchSuites.Cpu);
        if (onCpu && (suites.Length > 1 || parsed.GetValue(options.Device) == "cuda"))
        {
            throw new UsageException($"--suite {BenchSuites.Cpu} measures the CPU: give it alone, and without --device cuda.");
        }

        bool useCuda = !onCpu && UsesCuda(parsed.GetValue(options.Device)!);
        string type = TypeOf(parsed.GetValue(options.Type), useCuda);
        string command = $"mamba-cuda {string.Join(' ', parsed.Tokens.Select(token => token.Value))}";
        bool failed = false;
        using BenchSession session = new(useCuda, parsed.GetValue(options.Runs));
        IEnumerable<(string? Suite, IReadOnlyList<BenchRow> Rows)> groups = operation is null
            ? suites.Select(suite => ((string?)suite, BenchSuites.All[suite]))
            : [(null, [RowOf(options, parsed, operation)])];
        foreach ((string? suite, IReadOnlyList<BenchRow> rows) in groups)
        {
            List<BenchResult> results = [];
            foreach (BenchRow row in rows)
            {
                cancellation.ThrowIfCancellationRequested();
                results.Add(await Task.Run(() => session.Measure(row with { Type = type }), cancellation));
                await output.WriteLineAsync(BenchTable.Line(results[^1]));
                failed |= results[^1].Problem is not null;
            }

            BenchReport report = session.Report(command, parsed.GetValue(options.Commit), results);
            if (BenchTable.Ceilings(report) is { Length: > 0 } ceilings)
            {
                await output.WriteLineAsync($"{report.Machine.Device}: {ceilings}");
            }

            if (suite is not null && parsed.GetValue(options.Out) is { } target)
            {
                Directory.CreateDirectory(target);
                await File.WriteAllTextAsync(Path.Combine(target, $"{suite}.json"), report.ToJson() + "\n", cancellation);
            }

            if (suite is null && parsed.GetValue(options.Json) is { } file)
            {
                await File.WriteAllTextAsync(file, report.ToJson() + "\n", cancellation);
            }
        }

        return failed ? ExitCode.Failed : ExitCode.Done;
    }

    private static bool UsesCuda(string device)
    {
        string? problem = device == "cpu" ? "" : CudaBackend.WhyUnavailable();
        return device == "cuda" && problem is not null ? throw new CudaUnavailableException($"--device cuda: {problem}") : problem is null;
    }

    private static string TypeOf(string? given, bool useCuda)
    {
        if (!useCuda && given is not (null or "fp32"))
        {
            throw new UsageException($"--dtype {given}: the CPU computes with fp32 activations, and no CUDA device is used.");
        }

        return given ?? (useCuda ? "bf16" : "fp32");
    }

    private static BenchRow RowOf(Options options, ParseResult parsed, string name)
    {
        BenchOperation operation = BenchOperation.Named(name)
            ?? throw new UsageException($"There is no operation '{name}'; there are {string.Join(", ", BenchOperation.All.Select(known => known.Name))}.");
        string? variant = parsed.GetValue(options.Variant), model = parsed.GetValue(options.Model);
        if (variant is not null && !operation.Variants.Contains(variant))
        {
            throw new UsageException(operation.Variants.Count == 0
                ? $"--variant {variant}: {name} has but one way."
                : $"--variant {variant}: {name} has {string.Join(", ", operation.Variants)}.");
        }

        if (model is not null && !operation.TakesModel)
        {
            throw new UsageException($"--model {model}: {name} is no operation of a whole model.");
        }

        int stateSize = parsed.GetValue(options.StateSize);
        if (stateSize is < 1 or > Backend.MaxStateSize)
        {
            throw new UsageException($"--state-size is {stateSize}, but must be 1 to {Backend.MaxStateSize}.");
        }

        int launches = parsed.GetValue(options.Launches);
        if (launches is < 1 or > 1000)
        {
            throw new UsageException($"--launches is {launches}, but must be 1 to 1000.");
        }

        return new BenchRow(name, BenchRow.ParseShape(parsed.GetValue(options.Shape) ?? operation.DefaultShape, operation))
        {
            Variant = variant ?? operation.DefaultVariant,
            Model = operation.TakesModel ? model ?? "130m" : null,
            StateSize = stateSize,
            Launches = launches,
        };
    }

    private sealed class Options
    {
        public Argument<string?> Operation { get; } = new("operation") { Description = "What to measure.", Arity = ArgumentArity.ZeroOrOne };

        public Option<string?> Shape { get; } = new("--shape") { Description = "The sizes, as in 8x2048x2048; see above.", HelpName = "AxBxC" };

        public Option<string?> Type { get; } = new("--dtype") { Description = "The type of activations: bf16 (CUDA's default), fp16 or fp32." };

        public Option<string?> Model { get; } = new("--model") { Description = "The size of a model with random weights; 130m if left out." };

        public Option<string?> Variant { get; } = new("--variant") { Description = "Which of several ways; see above." };

        public Option<int> StateSize { get; } = new("--state-size") { Description = "The state size of scans.", DefaultValueFactory = _ => 16, HelpName = "N" };

        public Option<int> Runs { get; } = new("--runs") { Description = "How many runs; 0 for as many as take half a second, at least 15.", HelpName = "N" };

        public Option<int> Launches { get; } = new("--launches")
        {
            Description = "Time this many launches in a row, and tell the share of one: for operations of few microseconds.",
            DefaultValueFactory = _ => 1,
            HelpName = "N",
        };

        public Option<string> Device { get; } = new("--device") { Description = "auto, cuda or cpu.", DefaultValueFactory = _ => "auto" };

        public Option<string?> Json { get; } = new("--json") { Description = "Write the result to a file too.", HelpName = "FILE" };

        public Option<string[]> Suite { get; } = new("--suite") { Description = "Measure all rows of a table; may be given several times." };

        public Option<string?> Out { get; } = new("--out") { Description = "Write each suite's results to a file in this folder.", HelpName = "DIR" };

        public Option<string?> Commit { get; } = new("--commit")
        {
            Description = "The commit that results are of, where git is not there to tell; else MAMBACUDA_COMMIT.",
            HelpName = "HASH",
        };

        public Option<string?> Render { get; } = new("--render")
        {
            Description = "Measure nothing: write the tables of the results in a folder into its README.md.",
            HelpName = "DIR",
        };

        public Option<string?> Report { get; } = new("--report")
        {
            Description = $"Measure nothing: make one page, {ReportPage.FileName}, of the results in a folder, with charts and all numbers; "
                + "those of other programs are in files compare-SUITE.json, of the same layout. "
                + $"{DefaultResults} where none is named.",
            Arity = ArgumentArity.ZeroOrOne,
            HelpName = "DIR",
        };

        public void AddTo(Command command)
        {
            Type.AcceptOnlyFromAmong("bf16", "fp16", "fp32");
            Device.AcceptOnlyFromAmong("auto", "cuda", "cpu");
            Model.AcceptOnlyFromAmong(ModelSizes.Names);
            Suite.AcceptOnlyFromAmong([.. BenchSuites.All.Keys]);
            command.Arguments.Add(Operation);
            foreach (Option option in new Option[]
            {
                Shape, Type, Model, Variant, StateSize, Runs, Launches, Device, Json, Suite, Out, Commit, Render, Report,
            })
            {
                command.Options.Add(option);
            }
        }
    }
}
