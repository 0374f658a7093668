using System.Text.Json;

namespace MambaCuda;

/// <summary>Opens a <c>tokenizer.json</c> and, beside it, <c>tokenizer_config.json</c>.</summary>
internal static class TokenizerFile
{
    private const string FileName = "tokenizer.json";
    private const string ConfigName = "tokenizer_config.json";
    private const string UsualEndOfText = "<|endoftext|>";
    private const long LargestFile = 64 << 20;

    public static Tokenizer Load(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, FileName) : path;
        if (!File.Exists(file))
        {
            throw new TokenizerException(
                file,
                "there is no such file",
                "Copy the tokenizer.json that belongs to the model into its folder, or name one with its path");
        }

        using JsonDocument document = Parse(file);
        JsonElement root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new TokenizerException(file, "it holds no JSON object");
        }

        TokenizerFields fields = new(file, root, "tokenizer");
        if (root.TryGetProperty("type", out JsonElement type) && type.ValueKind == JsonValueKind.String)
        {
            return Bytes(file, fields);
        }

        try
        {
            BytePairParts parts = BytePairReader.Read(fields);
            return new BytePairTokenizer(parts, EndOfText(file, parts));
        }
        catch (InvalidOperationException exception)
        {
            // A name or text with half a surrogate pair is valid JSON, but no text.
            throw new TokenizerException(file, "a text in it is not valid Unicode", "Fetch the file again", exception);
        }
    }

    private static ByteTokenizer Bytes(string file, TokenizerFields fields)
    {
        string type = fields.Text("type");
        if (type != "byte")
        {
            throw new TokenizerException(
                file, $"its type is '{type}'", "Known are byte, and the files of Hugging Face tokenizers with a byte-level BPE model");
        }

        fields.AllowOnly("type", "end_of_text");
        int? endOfText = fields.OptionalInteger("end_of_text");
        return endOfText is < 0 or > ByteTokenizer.HighestEndOfText
            ? throw new TokenizerException(file, $"end_of_text is {endOfText}, but must be 0 to {ByteTokenizer.HighestEndOfText}")
            : new ByteTokenizer(endOfText);
    }

    /// <summary>The token that tokenizer_config.json names; without one, the usual name of it, where it is a special token.</summary>
    private static int? EndOfText(string file, BytePairParts parts)
    {
        string config = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(file))!, ConfigName);
        string? named = null;
        if (File.Exists(config))
        {
            using JsonDocument document = Parse(config);
            if (document.RootElement.ValueKind == JsonValueKind.Object
                && document.RootElement.TryGetProperty("eos_token", out JsonElement token))
            {
                named = token.ValueKind switch
                {
                    JsonValueKind.String => token.GetString(),
                    JsonValueKind.Object when token.TryGetProperty("content", out JsonElement content)
                        && content.ValueKind == JsonValueKind.String => content.GetString(),
                    JsonValueKind.Null => null,
                    _ => throw new TokenizerException(config, "eos_token is neither a text nor an object with its content"),
                };
            }
        }

        AddedToken? added = parts.AddedTokens.FirstOrDefault(token => token.Special && token.Content == (named ?? UsualEndOfText));
        return added?.Id ?? (named is not null && parts.Ids.TryGetValue(named, out int id) ? id : null);
    }

    private static JsonDocument Parse(string file)
    {
        try
        {
            long length = new FileInfo(file).Length;
            if (length > LargestFile)
            {
                throw new TokenizerException(file, $"it has {length} bytes, more than any tokenizer needs ({LargestFile})");
            }

            return JsonDocument.Parse(File.ReadAllBytes(file), new JsonDocumentOptions { AllowDuplicateProperties = false });
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // The second is what half a surrogate pair in the name of a property gives.
            throw new TokenizerException(
                file, $"it is not valid JSON: {exception.Message.TrimEnd('.')}", "Fetch the file again", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerException(file, $"it cannot be read: {exception.Message.TrimEnd('.')}", null, exception);
        }
    }
}
