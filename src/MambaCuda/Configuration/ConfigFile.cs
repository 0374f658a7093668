using System.Text.Json;

namespace MambaCuda;

/// <summary>Reads a config.json and finds out which of the two public formats it is; reads the object of other files of its kind.</summary>
internal static class ConfigFile
{
    /// <summary>Thousands of times more than a configuration of a language model needs.</summary>
    public const int LongestFile = 1 << 20;

    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 16 };

    public static MambaConfig Load(string path) => Load(path, Model);

    public static MambaConfig Parse(ReadOnlySpan<byte> utf8, string source) => Parse(utf8, source, Model);

    /// <summary>What a file's one object says.</summary>
    /// <param name="path">The file.</param>
    /// <param name="read">Makes something of the fields.</param>
    public static T Load<T>(string path, Func<ConfigFields, T> read)
    {
        using MappedFile file = MappedFile.Open(path);
        return file.ByteLength <= LongestFile
            ? Parse(file.Span(0, (int)file.ByteLength), path, read)
            : throw new CheckpointException(path, $"has {file.ByteLength} bytes, but a configuration has at most {LongestFile}");
    }

    private static T Parse<T>(ReadOnlySpan<byte> utf8, string source, Func<ConfigFields, T> read)
    {
        if (utf8.Length > LongestFile)
        {
            throw new CheckpointException(source, $"has {utf8.Length} bytes, but a configuration has at most {LongestFile}");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(utf8.ToArray(), Strict);
            return read(new ConfigFields(document.RootElement, source, ""));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the reader's word for escapes and bytes that are not Unicode.
            throw new CheckpointException(source, $"is not valid JSON: {e.Message.TrimEnd('.')}", inner: e);
        }
    }

    private static MambaConfig Model(ConfigFields fields)
    {
        MambaConfig config = fields.Has("model_type") ? HuggingFaceConfig.Read(fields)
            : fields.Has("d_model") ? StateSpacesConfig.Read(fields)
            : throw fields.Refused(
                "has neither model_type (Hugging Face format) nor d_model (state-spaces format)",
                "Point to a folder that holds a Mamba checkpoint");
        config.Validate(fields.Source);
        return config;
    }
}
