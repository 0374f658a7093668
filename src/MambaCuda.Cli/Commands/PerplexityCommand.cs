using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda perplexity: how well a model predicts a text.</summary>
internal static class PerplexityCommand
{
    public static Command Create(TextWriter output, TextWriter error)
    {
        Argument<string> file = new("file") { Description = "A text file in UTF-8." };
        Option<string?> model = CommonOptions.Model();
        Option<string?> adapter = CommonOptions.Adapter();
        Option<string?> tokenizer = CommonOptions.Tokenizer();
        DeviceOptions device = new();
        Option<bool> json = CommonOptions.Json();
        Command command = new(
            "perplexity",
            """
            Measure how well a model predicts a text: perplexity by token, bits per byte. The text is read once from the start to the
            end, with the state carried on, so every token is judged with all that stands before it. The first token has nothing before
            it and is not judged.

            Examples:
              mamba-cuda perplexity book.txt
              mamba-cuda perplexity --model ./mamba-130m-hf book.txt --json
            """);
        command.Arguments.Add(file);
        foreach (Option option in new Option[] { model, adapter, tokenizer, json })
        {
            command.Options.Add(option);
        }

        device.AddTo(command);
        command.SetAction(async (parsed, cancellation) =>
        {
            string folder = ModelLoader.FolderOf(parsed.GetValue(model));
            string text =
                await File.ReadAllTextAsync(parsed.GetValue(file)!, new UTF8Encoding(false, throwOnInvalidBytes: true), cancellation);
            Tokenizer words = Tokenizer.Load(parsed.GetValue(tokenizer) ?? folder);
            using Backend backend = device.Open(parsed, error);
            using MambaModel loaded = ModelLoader.Load(folder, parsed.GetValue(adapter), backend, error, cancellation);
            Perplexity result = await Task.Run(() => Perplexity.Measure(loaded, words, text, cancellation), cancellation);
            await output.WriteLineAsync(parsed.GetValue(json) ? Json(result) : string.Create(
                CultureInfo.InvariantCulture,
                $"perplexity {result.ByToken:f4}, {result.BitsPerByte:f4} bits per byte "
                + $"({result.TokenCount:N0} tokens, {result.ByteCount:N0} bytes)"));
            return ExitCode.Done;
        });
        return command;
    }

    private static string Json(Perplexity result)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
        {
            writer.WriteStartObject();
            writer.WriteNumber("perplexity", result.ByToken);
            writer.WriteNumber("bits_per_byte", result.BitsPerByte);
            writer.WriteNumber("tokens", result.TokenCount);
            writer.WriteNumber("bytes", result.ByteCount);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }
}
