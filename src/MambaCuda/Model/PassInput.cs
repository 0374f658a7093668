using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>The checks of what a pass is given, in inference and in training; nothing has run where one throws.</summary>
internal static class PassInput
{
    /// <summary>Throws where the sequences have another number of tokens.</summary>
    public static void CheckLength(int length, SequenceLayout sequences, string parameter)
    {
        if (sequences.TotalLength != length)
        {
            throw new ArgumentException($"The sequences have {sequences.TotalLength} tokens, but {length} were given.", parameter);
        }
    }

    /// <summary>Throws where a token is not in the vocabulary; the message names its place.</summary>
    /// <param name="tokenIds">The tokens.</param>
    /// <param name="vocabularySize">One more than the highest.</param>
    /// <param name="parameter">The caller's parameter.</param>
    /// <param name="allowed">A number that is no token and yet allowed, as that of a target that has no loss; or null.</param>
    public static void CheckTokens(ReadOnlySpan<int> tokenIds, int vocabularySize, string parameter, int? allowed = null)
    {
        for (int i = 0; i < tokenIds.Length; i++)
        {
            if ((tokenIds[i] < 0 || tokenIds[i] >= vocabularySize) && tokenIds[i] != allowed)
            {
                throw new ArgumentException(
                    $"Token {i} is {tokenIds[i]}, which is not in the vocabulary of {vocabularySize}.", parameter);
            }
        }
    }
}
