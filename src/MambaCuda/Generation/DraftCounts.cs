namespace MambaCuda;

/// <summary>How well a draft guesses, see <see cref="TextGeneratorOptions.Draft"/>.</summary>
/// <param name="Passes">Passes of the model that gave tokens, each at least one.</param>
/// <param name="Proposed">Tokens that the draft proposed.</param>
/// <param name="Accepted">Those of them that the model chose too.</param>
public readonly record struct DraftCounts(long Passes, long Proposed, long Accepted)
{
    /// <summary>The share of proposals that were accepted; 0 where there were none.</summary>
    public double AcceptedShare => Proposed == 0 ? 0 : (double)Accepted / Proposed;
}
