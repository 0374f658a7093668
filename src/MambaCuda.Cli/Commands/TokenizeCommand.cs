using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using MambaCuda.Training;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda tokenize: makes a token file of texts.</summary>
internal static class TokenizeCommand
{
    public static Command Create(TextWriter output, TextWriter error)
    {
        Options options = new();
        Command command = new(
            "tokenize",
            """
            Make a token file of texts, to train on. A text file is a document; so is the field "text" of each line of a .jsonl file.
            Folders are read with all below them, hidden files left out. Behind each document stands the token that ends a text; one that
            is spelled out in a text ends a document too. The result does not depend on the number of threads.

            Examples:
              mamba-cuda tokenize ./books --tokenizer ./mamba-130m-hf --output books.tokens
              mamba-cuda tokenize ./source --include "*.cs" --include "*.md" --output source.tokens --held-out held-out.tokens
              zcat web.jsonl.gz | mamba-cuda tokenize - --format jsonl --field content --tokenizer ./mamba-130m-hf --output web.tokens
            """);
        options.AddTo(command);
        command.SetAction((parsed, cancellation) => RunAsync(options, parsed, output, error, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(
        Options options, ParseResult parsed, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        string file = parsed.GetValue(options.Output)!;
        string? heldOut = parsed.GetValue(options.HeldOut);
        Tokenizer tokenizer = ModelLoader.TokenizerNamed(parsed.GetValue(options.Tokenizer)!);
        CorpusOptions corpus = CorpusOptionsOf(options, parsed, tokenizer);
        bool force = parsed.GetValue(options.Force);
        using TokenFileWriter writer = new(file, tokenizer, force);
        using TokenFileWriter? heldOutWriter = heldOut is null ? null : new(heldOut, tokenizer, force);
        CorpusProgress done;
        using (ProgressLine progress = new(error))
        {
            done = await Task.Run(
                () => CorpusTokenizer.Tokenize(
                    parsed.GetValue(options.Inputs)!, tokenizer, corpus, writer, heldOutWriter, progress: progress,
                    cancellation: cancellation),
                cancellation);
        }

        heldOutWriter?.Complete();
        writer.Complete();
        bool json = parsed.GetValue(options.Json);
        await output.WriteLineAsync(json ? Json(done, writer, heldOutWriter) : Summary(done, writer, heldOutWriter));
        return ExitCode.Done;
    }

    private static CorpusOptions CorpusOptionsOf(Options options, ParseResult parsed, Tokenizer tokenizer)
    {
        int threads = parsed.GetValue(options.Threads), every = parsed.GetValue(options.HeldOutEvery);
        string? heldOut = parsed.GetValue(options.HeldOut);
        if (threads < 0)
        {
            throw new UsageException($"--threads is {threads}, but must be 0 or more.");
        }

        if (every < 2)
        {
            throw new UsageException($"--held-out-every is {every}, but must be 2 or more: the others are trained on.");
        }

        if (heldOut is not null && Path.GetFullPath(heldOut) == Path.GetFullPath(parsed.GetValue(options.Output)!))
        {
            throw new UsageException("--held-out and --output name the same file.");
        }

        bool endDocuments = !parsed.GetValue(options.NoEndOfText);
        if (endDocuments && tokenizer.EndOfText is null)
        {
            throw new UsageException(
                $"{parsed.GetValue(options.Tokenizer)} names no token that ends a text; give --no-eos to do without one.");
        }

        return new CorpusOptions
        {
            Format = parsed.GetValue(options.Format) switch
            {
                "text" => CorpusFormat.Text,
                "jsonl" => CorpusFormat.JsonLines,
                _ => CorpusFormat.ByName,
            },
            Field = parsed.GetValue(options.Field)!,
            Include = parsed.GetValue(options.Include) ?? [],
            EndDocuments = endDocuments,
            PlainText = parsed.GetValue(options.PlainText),
            HeldOutEvery = heldOut is null ? 0 : every,
            Threads = threads,
        };
    }

    private static string Summary(CorpusProgress done, TokenFileWriter writer, TokenFileWriter? heldOut)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{writer.Path}: {writer.TokenCount:N0} tokens in {writer.DocumentCount:N0} documents");
        if (heldOut is not null)
        {
            text.AppendLine();
            text.Append(
                CultureInfo.InvariantCulture, $"{heldOut.Path}: {heldOut.TokenCount:N0} tokens in {heldOut.DocumentCount:N0} documents");
        }

        return text.AppendLine().Append(CultureInfo.InvariantCulture, $"of {done.BytesRead:N0} bytes").ToString();
    }

    private static string Json(CorpusProgress done, TokenFileWriter writer, TokenFileWriter? heldOut)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter json = new(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("tokens", writer.TokenCount);
            json.WriteNumber("documents", writer.DocumentCount);
            if (heldOut is not null)
            {
                json.WriteNumber("held_out_tokens", heldOut.TokenCount);
                json.WriteNumber("held_out_documents", heldOut.DocumentCount);
            }

            json.WriteNumber("bytes", done.BytesRead);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private sealed class Options
    {
        public Argument<string[]> Inputs { get; } = new("input")
        {
            Description = "Text files, JSON lines, folders, or - for standard input.",
            Arity = ArgumentArity.OneOrMore,
        };

        public Option<string> Output { get; } = new("--output", "-o")
        {
            Description = "The token file to write.",
            HelpName = "FILE",
            Required = true,
        };

        public Option<string> Tokenizer { get; } = new("--tokenizer")
        {
            Description = "A tokenizer.json, a folder with one, or bytes: each byte of UTF-8 is a token, and 0 ends a text.",
            HelpName = "PATH",
            DefaultValueFactory = _ => ModelLoader.Bytes,
        };

        public Option<string> Format { get; } = new("--format")
        {
            Description = "What the files hold: text, jsonl, or auto for JSON lines where the name ends in .jsonl or .ndjson.",
            DefaultValueFactory = _ => "auto",
        };

        public Option<string> Field { get; } = new("--field")
        {
            Description = "The field of a JSON line that holds the text.",
            HelpName = "NAME",
            DefaultValueFactory = _ => "text",
        };

        public Option<string[]> Include { get; } = new("--include")
        {
            Description = "Which files of a folder are read, as *.cs; may be given several times. Left out: *.txt and *.jsonl.",
            HelpName = "PATTERN",
        };

        public Option<bool> NoEndOfText { get; } = new("--no-eos") { Description = "Put no token behind a document." };

        public Option<bool> PlainText { get; } = new("--plain-text")
        {
            Description = "Take special tokens that are spelled out in a text as plain text.",
        };

        public Option<string?> HeldOut { get; } = new("--held-out")
        {
            Description = "A second token file, for documents that are not trained on.",
            HelpName = "FILE",
        };

        public Option<int> HeldOutEvery { get; } = new("--held-out-every")
        {
            Description = "With --held-out: every how many documents one goes there.",
            HelpName = "N",
            DefaultValueFactory = _ => 100,
        };

        public Option<int> Threads { get; } = new("--threads")
        {
            Description = "How many threads make tokens; 0 for one a processor.",
            HelpName = "N",
            DefaultValueFactory = _ => 0,
        };

        public Option<bool> Force { get; } = new("--force") { Description = "Replace files that are there already." };

        public Option<bool> Json { get; } = CommonOptions.Json();

        public void AddTo(Command command)
        {
            Format.AcceptOnlyFromAmong("auto", "text", "jsonl");
            command.Arguments.Add(Inputs);
            foreach (Option option in new Option[]
            {
                Output, Tokenizer, Format, Field, Include, NoEndOfText, PlainText, HeldOut, HeldOutEvery, Threads, Force, Json,
            })
            {
                command.Options.Add(option);
            }
        }
    }
}
