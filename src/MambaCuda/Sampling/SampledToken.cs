namespace MambaCuda;

/// <summary>A chosen token.</summary>
/// <param name="Id">Its id.</param>
/// <param name="LogProbability">The natural logarithm of the probability that the model gave it, before penalties, temperature and
/// filters.</param>
public readonly record struct SampledToken(int Id, float LogProbability);
