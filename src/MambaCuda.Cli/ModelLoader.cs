using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Finds, opens and loads what --model and --tokenizer name.</summary>
internal static class ModelLoader
{
    /// <summary>The name of the tokenizer that needs no file: each byte of UTF-8 is a token, and 0 ends a text.</summary>
    public const string Bytes = "bytes";

    /// <summary>What stands in the file of that tokenizer.</summary>
    public const string BytesFile = """
        { "type": "byte", "end_of_text": 0 }

        """;

    /// <summary>The folder of the model that comes with the program.</summary>
    public static string DefaultModel => Path.Combine(AppContext.BaseDirectory, "DefaultModel");

    /// <summary>The folder that --model names, or that of the model that comes with the program.</summary>
    public static string FolderOf(string? model)
    {
        if (model is not null)
        {
            return model;
        }

        return File.Exists(Path.Combine(DefaultModel, "config.json"))
            ? DefaultModel
            : throw new FileNotFoundException(
                $"The model that comes with the program is not at {DefaultModel}; put the DefaultModel folder back, or name another "
                + "with --model.");
    }

    /// <summary>The tokenizer's file that a path names, itself or by its folder; null where there is none.</summary>
    public static string? TokenizerFileOf(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, "tokenizer.json") : path;
        return File.Exists(file) ? file : null;
    }

    /// <summary>The tokenizer of a path, or of the word bytes.</summary>
    /// <exception cref="TokenizerException">There is none at the path, or it cannot be used.</exception>
    public static Tokenizer TokenizerNamed(string name) => name == Bytes ? new ByteTokenizer(endOfText: 0) : Tokenizer.Load(name);

    /// <summary>Loads the weights, an adapter merged into them where one is named, with progress on a terminal.</summary>
    public static MambaModel Load(string folder, string? adapter, Backend backend, TextWriter error, CancellationToken cancellation)
    {
        using ProgressLine progress = new(error);
        if (adapter is null)
        {
            return MambaModel.Load(folder, backend, progress, cancellation);
        }

        Checkpoint checkpoint = Checkpoint.Open(folder);
        try
        {
            using LoraAdapter opened = LoraAdapter.Open(adapter, checkpoint.Config);
            return MambaModel.Load(checkpoint, opened, backend, progress, cancellation);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }
}
