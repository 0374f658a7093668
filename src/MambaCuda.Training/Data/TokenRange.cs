namespace MambaCuda.Training;

/// <summary>Consecutive tokens of a token file.</summary>
/// <param name="Start">The index of the first in the file.</param>
/// <param name="Count">How many.</param>
public readonly record struct TokenRange(long Start, long Count);
