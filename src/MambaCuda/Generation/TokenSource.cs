namespace MambaCuda;

/// <summary>
/// Where the texts of a batch get their next tokens from, all but the first of each: chosen on the host after each pass, on the device between
/// passes, or several to a pass with a draft.
/// </summary>
internal abstract class TokenSource : IDisposable
{
    /// <summary>The one that suits the backend.</summary>
    /// <param name="state">The states of the batch; a sequence's slot is its own.</param>
    public static TokenSource Of(MambaState state) =>
        state.Model.Backend.CanCapture ? new DeviceTokens(state) : new HostTokens(state);

    /// <summary>
    /// Takes in sequences whose prompts have ended and whose first tokens are pending. They are in the batch's states until then.
    /// </summary>
    /// <param name="active">All that are active from now on.</param>
    public abstract void Join(List<GeneratedSequence> active);

    /// <summary>Chooses the next token of each active sequence. Never stopped half way: a cancelled caller finds states between two tokens.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled before; nothing has run.</exception>
    public abstract ValueTask NextAsync(List<GeneratedSequence> active, CancellationToken cancellation);

    /// <summary>The token that was chosen for a sequence.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="place">Its place among the active ones.</param>
    public abstract SampledToken Token(GeneratedSequence sequence, int place);

    /// <summary>The logits that it was chosen from.</summary>
    public abstract float[] LogitsOf(GeneratedSequence sequence, int place);

    /// <summary>
    /// Copies a sequence as it stands: all its tokens run, but the last, which is pending. One that was chosen and not taken yet is neither.
    /// </summary>
    public abstract void CopyTo(GeneratedSequence sequence, MambaState destination);

    /// <summary>Leaves the states that it was made for where the tokens given end.</summary>
    public abstract void Dispose();
}
