using System.CommandLine;
using MambaCuda.Training;

namespace MambaCuda.Cli;

/// <summary>Parses a command line, runs the command, and turns what went wrong into one line and an exit code.</summary>
public static class CommandRunner
{
    /// <summary>Runs a command line.</summary>
    /// <param name="arguments">The words after the program's name.</param>
    /// <param name="output">Where results go.</param>
    /// <param name="error">Where progress and errors go.</param>
    /// <param name="cancellation">Ends the command as Ctrl+C does.</param>
    /// <returns>An <see cref="ExitCode"/>.</returns>
    public static async Task<int> RunAsync(
        IReadOnlyList<string> arguments, TextWriter output, TextWriter error, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(output);
        ArgumentNullException.ThrowIfNull(error);
        RootCommand root = new(
            """
            Generate text with Mamba (selective state space) models, inspect, convert and measure their checkpoints and the kernels, and
            prepare text to train them on.

            Examples:
              mamba-cuda generate "Gets or sets the"
              mamba-cuda generate --model ./mamba-130m-hf --max-tokens 100 --temperature 0.8 "The capital of France"
              mamba-cuda info --model ./mamba-130m-hf
              mamba-cuda convert ./mamba-130m ./mamba-130m-hf --dtype bf16
              mamba-cuda perplexity --model ./mamba-130m-hf book.txt
              mamba-cuda tokenize ./books --tokenizer ./mamba-130m-hf --output books.tokens
              mamba-cuda train book.tokens --output ./book-model
              mamba-cuda task induction-heads
              mamba-cuda bench scan --shape 8x2048x2048
              mamba-cuda profile --what decode
              mamba-cuda validate --filter LinearForward
              mamba-cuda kernels build --arch 90 --output ./cubins

            Exit codes: 0 done, 1 failed, 2 the command line is wrong, 3 a model, tokenizer, state or other file cannot be used,
            130 cancelled.
            """);
        root.Options.Add(CommonOptions.Verbose);
        root.Subcommands.Add(GenerateCommand.Create(output, error));
        root.Subcommands.Add(InfoCommand.Create(output, error));
        root.Subcommands.Add(ConvertCommand.Create(output, error));
        root.Subcommands.Add(PerplexityCommand.Create(output, error));
        root.Subcommands.Add(TokenizeCommand.Create(output, error));
        root.Subcommands.Add(TrainCommand.Create(output, error));
        root.Subcommands.Add(TaskCommand.Create(output, error));
        root.Subcommands.Add(BenchCommand.Create(output, error));
        root.Subcommands.Add(ProfileCommand.Create(output, error));
        root.Subcommands.Add(ValidateCommand.Create(output, error));
        root.Subcommands.Add(KernelsCommand.Create(output, error));
        CommandHelp.AddTo(root);

        ParseResult parsed = root.Parse(arguments);
        if (parsed.Errors.Count > 0)
        {
            IEnumerable<string> words =
                parsed.Errors.SelectMany(mistake => mistake.Message.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
            await error.WriteLineAsync($"mamba-cuda: {string.Join(' ', words)} Try --help.");
            return ExitCode.Usage;
        }

        try
        {
            InvocationConfiguration configuration = new() { Output = output, Error = error, EnableDefaultExceptionHandler = false };
            return await parsed.InvokeAsync(configuration, cancellation);
        }
        catch (Exception exception) when (!parsed.GetValue(CommonOptions.Verbose) || exception is OperationCanceledException)
        {
            await error.WriteLineAsync($"mamba-cuda: {OneLine(exception)}");
            return CodeOf(exception);
        }
        catch (Exception exception)
        {
            await error.WriteLineAsync($"mamba-cuda: {exception}");
            return CodeOf(exception);
        }
    }

    private static int CodeOf(Exception exception) => exception switch
    {
        OperationCanceledException => ExitCode.Cancelled,
        UsageException => ExitCode.Usage,
        CheckpointException or TokenizerException or TokenFileException or CorpusException or InvalidDataException or IOException
            or UnauthorizedAccessException => ExitCode.BadFile,
        _ => ExitCode.Failed,
    };

    /// <summary>The message without the name of the parameter that .NET appends: callers of a command know no parameters.</summary>
    private static string OneLine(Exception exception)
    {
        string message = exception.Message.ReplaceLineEndings(" ");
        return (exception is UsageException ? exception.InnerException : exception) is ArgumentException { ParamName: { } name }
            ? message.Replace($" (Parameter '{name}')", "", StringComparison.Ordinal)
            : message;
    }
}
