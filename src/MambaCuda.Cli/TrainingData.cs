using MambaCuda.Training;

namespace MambaCuda.Cli;

/// <summary>
/// What a model is trained on: a token file, or texts, which are made into one within the run's folder. Its name says what it was made of,
/// so that a run which goes on makes it again only where the texts have changed.
/// </summary>
internal sealed class TrainingData : IDisposable
{
    private const string Prefix = "texts-";
    private const string Extension = ".tokens";

    private TrainingData(TokenFile file, string[] companions, bool isOfTexts) =>
        (File, Companions, IsOfTexts) = (file, companions, isOfTexts);

    /// <summary>The tokens.</summary>
    public TokenFile File { get; }

    /// <summary>The tokenizer's file, if one is known: every checkpoint gets a copy.</summary>
    public string[] Companions { get; }

    /// <summary>Whether the tokens were made of texts for this run.</summary>
    public bool IsOfTexts { get; }

    /// <summary>Opens a token file, or makes one of texts.</summary>
    /// <param name="inputs">One token file; or texts, JSON lines and folders.</param>
    /// <param name="tokenizer">What --tokenizer names, or null.</param>
    /// <param name="from">The checkpoint that is trained further, or null.</param>
    /// <param name="field">What --field names, or null.</param>
    /// <param name="folder">The run's folder.</param>
    /// <param name="error">Where progress goes.</param>
    /// <param name="cancellation">Ends the making.</param>
    /// <exception cref="UsageException">Inputs or options do not go together.</exception>
    public static TrainingData Open(
        IReadOnlyList<string> inputs, string? tokenizer, string? from, string? field, string folder, TextWriter error,
        CancellationToken cancellation)
    {
        if (inputs.FirstOrDefault(IsTokenFile) is { } tokens)
        {
            return inputs.Count > 1
                ? throw new UsageException($"{tokens} is a token file: train takes one alone, or texts, but not both.")
                : field is not null
                    ? throw new UsageException($"--field is for JSON lines, but {tokens} is a token file.")
                    : OfTokens(tokens, tokenizer ?? (from is null ? null : ModelLoader.TokenizerFileOf(from)), folder);
        }

        CheckTexts(inputs, folder);
        string named = TokenizerOfTexts(tokenizer, from);
        Tokenizer made = ModelLoader.TokenizerNamed(named);
        if (made.EndOfText is null)
        {
            throw new UsageException(
                $"{named} names no token that ends a text; make a token file of the texts with mamba-cuda tokenize --no-eos.");
        }

        CorpusOptions options = field is null ? new() : new() { Field = field };
        string path = Path.Combine(folder, $"{Prefix}{CorpusFingerprint.Of(inputs, made, options, cancellation)}{Extension}");
        Directory.CreateDirectory(folder);
        if (!System.IO.File.Exists(path))
        {
            TellOfChange(folder, error);
            using ProgressLine progress = new(error);
            using TokenFileWriter writer = new(path, made, replace: true);
            CorpusTokenizer.Tokenize(inputs, made, options, writer, progress: progress, cancellation: cancellation);
            writer.Complete();
        }

        return new TrainingData(TokenFile.Open(path), CompanionsOf(named, folder), isOfTexts: true);
    }

    /// <summary>The tokenizer that texts are made into tokens by: the named one, the checkpoint's, or bytes for a new model.</summary>
    public static string TokenizerOfTexts(string? tokenizer, string? from) => (tokenizer, from) switch
    {
        ({ } named, _) => named,
        (_, null) => ModelLoader.Bytes,
        _ => ModelLoader.TokenizerFileOf(from)
            ?? throw new UsageException($"{from} has no tokenizer.json to read texts with; name one by --tokenizer."),
    };

    /// <summary>
    /// Deletes the tokens of texts as they were before, and what a killed process left half made. Only for the one that has the run open
    /// for writing.
    /// </summary>
    public void DeleteEarlier(string folder)
    {
        if (!IsOfTexts)
        {
            return;
        }

        foreach (string path in Directory.GetFiles(folder, $"{Prefix}*{Extension}").Concat(Directory.GetFiles(folder, $".{Prefix}*")))
        {
            if (Path.GetFileName(path) != Path.GetFileName(File.Path))
            {
                System.IO.File.Delete(path);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => File.Dispose();

    // Who calls a file .tokens wants to hear what is wrong with its tokens, not that it is no UTF-8.
    private static bool IsTokenFile(string path) =>
        System.IO.File.Exists(path) && (Path.GetExtension(path) == Extension || TokenFile.IsTokenFile(path));

    private static TrainingData OfTokens(string path, string? tokenizer, string folder)
    {
        TokenFile file = TokenFile.Open(path);
        try
        {
            if (tokenizer is null)
            {
                return new TrainingData(file, [], isOfTexts: false);
            }

            file.CheckMadeBy(ModelLoader.TokenizerNamed(tokenizer));
            return new TrainingData(file, CompanionsOf(tokenizer, folder), isOfTexts: false);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static void CheckTexts(IReadOnlyList<string> inputs, string folder)
    {
        string run = Inside(folder);
        foreach (string input in inputs)
        {
            if (input == "-")
            {
                throw new UsageException("train reads no standard input: make a token file of it with mamba-cuda tokenize.");
            }

            // The run's own metrics.jsonl would become a text to train on.
            if (Directory.Exists(input) && run.StartsWith(Inside(input), StringComparison.Ordinal))
            {
                throw new UsageException($"--output {folder} lies in {input}, whose texts are trained on; choose another folder.");
            }
        }

        static string Inside(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)) + Path.DirectorySeparatorChar;
    }

    private static void TellOfChange(string folder, TextWriter error)
    {
        if (TrainingCheckpoint.Latest(folder) is not null && Directory.EnumerateFiles(folder, $"{Prefix}*{Extension}").Any())
        {
            error.WriteLine(
                "The texts, or how they are read, have changed since the run was stopped: it goes on with them as they are now.");
        }
    }

    /// <summary>The tokenizer's files: its own, and the one beside it that may name the end of a text.</summary>
    private static string[] CompanionsOf(string tokenizer, string folder)
    {
        if (tokenizer != ModelLoader.Bytes)
        {
            string file = ModelLoader.TokenizerFileOf(tokenizer)!;
            string settings = Path.Combine(Path.GetDirectoryName(file)!, "tokenizer_config.json");
            return System.IO.File.Exists(settings) ? [file, settings] : [file];
        }

        string path = Path.Combine(Directory.CreateDirectory(folder).FullName, "tokenizer.json");
        System.IO.File.WriteAllText(path, ModelLoader.BytesFile);
        return [path];
    }
}
