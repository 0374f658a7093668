namespace MambaCuda.Training;

/// <summary>A part of a file that is made into tokens at once: text cut at a word, or whole lines of JSON.</summary>
/// <param name="Source">The file, for messages.</param>
/// <param name="Bytes">The part.</param>
/// <param name="Position">Of text, the byte of the file that it begins at; of JSON, the line, from 1 on.</param>
/// <param name="IsJson">Whether it is lines of JSON.</param>
/// <param name="EndsFile">Whether it is the last of its file. Text always has a last piece; JSON may have none.</param>
internal sealed record CorpusPiece(string Source, byte[] Bytes, long Position, bool IsJson, bool EndsFile);
