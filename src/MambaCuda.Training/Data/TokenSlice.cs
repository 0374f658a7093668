namespace MambaCuda.Training;

/// <summary>
/// Consecutive tokens of a token file, such as those that are trained on or those that are held out. Documents that reach beyond it are cut
/// at its ends.
/// </summary>
public sealed class TokenSlice
{
    private readonly long _firstDocument;

    /// <summary>Chooses the tokens.</summary>
    /// <param name="file">The file, which stays open as long as the slice is used.</param>
    /// <param name="start">The first token.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">The file has not so many tokens.</exception>
    public TokenSlice(TokenFile file, long start, long count)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, file.TokenCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, file.TokenCount - start);
        File = file;
        Start = start;
        TokenCount = count;
        if (count > 0)
        {
            _firstDocument = file.DocumentOf(start);
            DocumentCount = file.DocumentOf(start + count - 1) - _firstDocument + 1;
        }
    }

    /// <summary>The file.</summary>
    public TokenFile File { get; }

    /// <summary>The index of the first token in the file.</summary>
    public long Start { get; }

    /// <summary>The number of tokens.</summary>
    public long TokenCount { get; }

    /// <summary>The number of documents that have tokens here, and of empty ones between them.</summary>
    public long DocumentCount { get; }

    /// <summary>Where the part of a document that is in the slice lies in the file.</summary>
    /// <param name="index">The document, counted within the slice.</param>
    public TokenRange Document(long index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, DocumentCount);
        TokenRange whole = File.Document(_firstDocument + index);
        long start = Math.Max(whole.Start, Start);
        return new TokenRange(start, Math.Min(whole.Start + whole.Count, Start + TokenCount) - start);
    }

    /// <summary>Cuts a part from the end, to be held out from training.</summary>
    /// <param name="fraction">How much of the tokens is held out, more than 0 and less than 1.</param>
    /// <returns>
    /// What is trained on, then what is held out. The cut lies where a document begins, if one does within half the held-out length of the
    /// wanted place; else it goes through a document.
    /// </returns>
    /// <exception cref="ArgumentException">The fraction is out of range, or one of the parts would be empty.</exception>
    public (TokenSlice Training, TokenSlice HeldOut) HoldOut(double fraction)
    {
        if (!(fraction > 0 && fraction < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(fraction), fraction, "The held-out fraction must lie between 0 and 1.");
        }

        long heldOut = (long)Math.Round(fraction * TokenCount), cut = TokenCount - heldOut;
        if (heldOut == 0 || cut == 0)
        {
            throw new ArgumentException($"{fraction} of {TokenCount} tokens leaves one part empty.", nameof(fraction));
        }

        TokenRange around = File.Document(File.DocumentOf(Start + cut));
        long before = around.Start - Start, after = before + around.Count;
        long nearest = cut - before <= after - cut ? before : after;
        if (Math.Abs(nearest - cut) <= heldOut / 2 && nearest > 0 && nearest < TokenCount)
        {
            cut = nearest;
        }

        return (new TokenSlice(File, Start, cut), new TokenSlice(File, Start + cut, TokenCount - cut));
    }
}
