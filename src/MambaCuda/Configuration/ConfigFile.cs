using System.Text.Json;

namespace MambaCuda;

/// <summary>Reads a config.json and finds out which of the two public formats it is.</summary>
internal static class ConfigFile
{
    /// <summary>Thousands of times more than a configuration of a language model needs.</summary>
    public const int LongestFile = 1 << 20;

    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 16 };

    public static MambaConfig Load(string path)
    {
        using MappedFile file = MappedFile.Open(path);
        return file.ByteLength <= LongestFile
            ? Parse(file.Span(0, (int)file.ByteLength), path)
            : throw new CheckpointException(path, $"has {file.ByteLength} bytes, but a configuration has at most {LongestFile}");
    }

    public static MambaConfig Parse(ReadOnlySpan<byte> utf8, string source)
    {
        if (utf8.Length > LongestFile)
        {
            throw new CheckpointException(source, $"has {utf8.Length} bytes, but a configuration has at most {LongestFile}");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(utf8.ToArray(), Strict);
            MambaConfig config = Read(new ConfigFields(document.RootElement, source, ""));
            config.Validate(source);
            return config;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the reader's word for escapes and bytes that are not Unicode.
            throw new CheckpointException(source, $"is not valid JSON: {e.Message.TrimEnd('.')}", inner: e);
        }
    }

    private static MambaConfig Read(ConfigFields fields)
    {
        if (fields.Has("model_type"))
        {
            return HuggingFaceConfig.Read(fields);
        }

        if (fields.Has("d_model"))
        {
            return StateSpacesConfig.Read(fields);
        }

        throw fields.Refused(
            "has neither model_type (Hugging Face format) nor d_model (state-spaces format)",
            "Point to a folder that holds a Mamba checkpoint");
    }
}
