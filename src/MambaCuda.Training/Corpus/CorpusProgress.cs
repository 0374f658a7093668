namespace MambaCuda.Training;

/// <summary>How far the reading of texts has come.</summary>
/// <param name="BytesRead">The bytes made into tokens.</param>
/// <param name="TotalBytes">The bytes of all files; null where standard input is among them.</param>
/// <param name="Documents">The documents so far, with those held out.</param>
/// <param name="Tokens">Their tokens.</param>
public readonly record struct CorpusProgress(long BytesRead, long? TotalBytes, long Documents, long Tokens);
