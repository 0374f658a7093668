namespace MambaCuda;

/// <summary>One token of a generated text.</summary>
/// <param name="Sequence">The number of its request in the batch; 0 for a single one.</param>
/// <param name="Id">Its id.</param>
/// <param name="Text">
/// The text that it completes. Empty where a character or a possible stop string is still unfinished; never half a character.
/// All texts of a sequence joined are its text, without the stop string or the token that ended it.
/// </param>
/// <param name="LogProbability">The natural logarithm of the probability that the model gave it.</param>
/// <param name="FinishReason">None, or on the last token of a sequence why it ended.</param>
public readonly record struct GeneratedToken(int Sequence, int Id, string Text, float LogProbability, FinishReason FinishReason);
