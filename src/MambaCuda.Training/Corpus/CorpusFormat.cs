namespace MambaCuda.Training;

/// <summary>How documents stand in a file.</summary>
public enum CorpusFormat
{
    /// <summary>JSON lines where the name ends in .jsonl or .ndjson, else text.</summary>
    ByName,

    /// <summary>The file is one document in UTF-8.</summary>
    Text,

    /// <summary>Each line is a JSON object with a document in one of its fields.</summary>
    JsonLines,
}
