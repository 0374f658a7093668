namespace MambaCuda.Training;

/// <summary>How texts are found, read and made into tokens.</summary>
public sealed record CorpusOptions
{
    /// <summary>How documents stand in the files.</summary>
    public CorpusFormat Format { get; init; }

    /// <summary>The field of a JSON line that holds the text.</summary>
    public string Field { get; init; } = "text";

    /// <summary>
    /// Which files of a folder are read: patterns of names with * and ?. Empty means those that the format reads: *.txt, *.jsonl or both.
    /// </summary>
    public IReadOnlyList<string> Include { get; init; } = [];

    /// <summary>Whether the tokenizer's end of text is put behind every document that does not have it.</summary>
    public bool EndDocuments { get; init; } = true;

    /// <summary>
    /// Whether special tokens that are spelled out in a text are plain text. If not, a spelled-out end of text ends a document.
    /// </summary>
    public bool PlainText { get; init; }

    /// <summary>Every so many documents, one is held out; 0 for none.</summary>
    public int HeldOutEvery { get; init; }

    /// <summary>How many threads make tokens; 0 for one a processor. The result is the same for any number.</summary>
    public int Threads { get; init; }
}
