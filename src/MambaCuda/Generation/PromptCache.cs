using System.Globalization;

namespace MambaCuda;

/// <summary>
/// States of prompts that have been run, so that a text that begins with one goes on from there: however long a prompt is, its state has one
/// size. What was used the longest ago goes first: to a folder, if there is one, else away. A <see cref="TextGenerator"/> that is given a
/// cache looks into it before it runs a prompt, and leaves there the prompt and, at its end, the text. Not for several threads at once.
/// </summary>
/// <remarks>
/// A text that goes on from a cached prompt is what it would be without, up to the rounding of sums that are cut elsewhere; one whose whole
/// prompt is cached has the very bits.
/// </remarks>
public sealed class PromptCache : IDisposable
{
    private readonly MambaModel _model;
    private readonly int _most;
    private readonly PromptFolder? _folder;

    // The one used last is the first.
    private readonly LinkedList<CachedPrompt> _kept = [];

    /// <summary>Creates a cache, with what its folder has of the model.</summary>
    /// <param name="model">The model; belongs to the caller, and must outlive the cache.</param>
    /// <param name="options">How much is kept.</param>
    /// <exception cref="ArgumentException">The memory is less than one prompt takes.</exception>
    /// <exception cref="IOException">The folder cannot be made or read.</exception>
    public PromptCache(MambaModel model, PromptCacheOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new PromptCacheOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.MaxDiskBytes, nameof(options));
        BytesEach = MambaState.BytesFor(model.Config) + (model.Config.VocabularySize * sizeof(float));
        if (options.MaxMemoryBytes < BytesEach)
        {
            throw new ArgumentException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"MaxMemoryBytes is {options.MaxMemoryBytes:N0}, but one prompt of this model takes {BytesEach:N0} bytes."),
                nameof(options));
        }

        _model = model;
        _most = (int)Math.Min(options.MaxMemoryBytes / BytesEach, int.MaxValue);
        _folder = options.Folder is { } folder ? new PromptFolder(model, folder, options.MaxDiskBytes) : null;
    }

    /// <summary>The bytes that one prompt takes, besides its tokens: its state and the logits of the next token.</summary>
    public long BytesEach { get; }

    /// <summary>How many prompts are in memory.</summary>
    public int Count => _kept.Count;

    /// <summary>How many prompts were found, in part or as a whole.</summary>
    public long Hits { get; private set; }

    /// <summary>How many were not.</summary>
    public long Misses { get; private set; }

    /// <summary>How many tokens did not have to be run.</summary>
    public long TokensSaved { get; private set; }

    /// <summary>
    /// Why the last prompt that was to go to the folder is not there, or null. Generation does not fail for it, since nothing is lost but time.
    /// </summary>
    public Exception? WriteFailure { get; private set; }

    /// <summary>Puts a slot behind the longest cached prompt that tokens begin with.</summary>
    /// <param name="tokens">A sequence from its start.</param>
    /// <param name="state">The state that is to go on; untouched where nothing is found.</param>
    /// <param name="slot">Its slot.</param>
    /// <param name="logits">Gets those of the next token where all tokens are cached; as many as the vocabulary has ids.</param>
    /// <returns>How many of the tokens are in the state now; 0 where none are cached.</returns>
    /// <exception cref="IOException">A file of the folder cannot be read.</exception>
    public int Restore(ReadOnlySpan<int> tokens, MambaState state, int slot, Span<float> logits)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentOutOfRangeException.ThrowIfNotEqual(logits.Length, _model.Config.VocabularySize, nameof(logits));
        // What the folder has may take the place of what memory had.
        if ((FromFolder(tokens, LongestKept(tokens)?.Tokens.Length ?? 0) ?? LongestKept(tokens)) is not { } found)
        {
            Misses++;
            return 0;
        }

        Touch(found);
        found.State.CopySlot(0, state, slot);
        if (found.Tokens.Length == tokens.Length)
        {
            found.Logits.CopyTo(logits);
        }

        Hits++;
        TokensSaved += found.Tokens.Length;
        return found.Tokens.Length;
    }

    /// <summary>Keeps a sequence; tokens that are pending in its slot do not belong to what is kept.</summary>
    /// <param name="tokens">All tokens that the slot has run, from the start.</param>
    /// <param name="state">The state.</param>
    /// <param name="slot">Its slot.</param>
    /// <param name="logits">Those of the next token.</param>
    public void Store(ReadOnlySpan<int> tokens, MambaState state, int slot, ReadOnlySpan<float> logits)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentOutOfRangeException.ThrowIfZero(tokens.Length, nameof(tokens));
        ArgumentOutOfRangeException.ThrowIfNotEqual(logits.Length, _model.Config.VocabularySize, nameof(logits));
        if (state.TokenCount(slot) != tokens.Length)
        {
            throw new ArgumentException($"The slot has run {state.TokenCount(slot)} tokens, but {tokens.Length} are given.", nameof(tokens));
        }

        Store(tokens, logits, kept => state.CopySlot(slot, kept, 0));
    }

    /// <summary>Keeps a sequence that is copied from wherever it is.</summary>
    /// <param name="tokens">All tokens that it has run, from the start.</param>
    /// <param name="logits">Those of the next token.</param>
    /// <param name="copyTo">Copies its state to one of one slot; not called where it is kept already.</param>
    internal void Store(ReadOnlySpan<int> tokens, ReadOnlySpan<float> logits, Action<MambaState> copyTo)
    {
        if (LongestKept(tokens) is { } kept && kept.Tokens.Length == tokens.Length)
        {
            Touch(kept);
            return;
        }

        CachedPrompt prompt = new(tokens.ToArray(), FreeState(), logits.ToArray());
        copyTo(prompt.State);
        prompt.State.SetPendingTokens([]);
        _kept.AddFirst(prompt);
    }

    /// <summary>Writes to the folder what it does not have yet; nothing where there is none.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The same.</exception>
    public void Flush()
    {
        // The oldest first: the folder's order of use is that of writing.
        for (LinkedListNode<CachedPrompt>? node = _kept.Last; node is not null && _folder is not null; node = node.Previous)
        {
            if (!node.Value.IsOnDisk)
            {
                _folder.Write(node.Value);
            }
        }
    }

    /// <summary>Flushes, as far as that is possible (see <see cref="WriteFailure"/>), and lets go of all memory.</summary>
    public void Dispose()
    {
        Try(Flush);
        foreach (CachedPrompt kept in _kept)
        {
            kept.Dispose();
        }

        _kept.Clear();
    }

    private CachedPrompt? LongestKept(ReadOnlySpan<int> tokens)
    {
        CachedPrompt? longest = null;
        foreach (CachedPrompt kept in _kept)
        {
            if (kept.Tokens.Length > (longest?.Tokens.Length ?? 0) && tokens.StartsWith(kept.Tokens))
            {
                longest = kept;
            }
        }

        return longest;
    }

    private CachedPrompt? FromFolder(ReadOnlySpan<int> tokens, int than)
    {
        while (_folder?.LongestStartOf(tokens, than) is { } path)
        {
            MambaState state = FreeState();
            if (_folder.Read(path, state) is { } read)
            {
                _kept.AddFirst(read);
                return read;
            }

            state.Dispose();
        }

        return null;
    }

    /// <summary>A state for one more prompt: that of the one used the longest ago, where there is no room for another.</summary>
    private MambaState FreeState()
    {
        if (_kept.Count < _most)
        {
            return _model.CreateState();
        }

        CachedPrompt oldest = _kept.Last!.Value;
        if (_folder is { } folder && !oldest.IsOnDisk)
        {
            Try(() => folder.Write(oldest));
        }

        _kept.RemoveLast();
        return oldest.State;
    }

    private void Touch(CachedPrompt prompt)
    {
        _kept.Remove(prompt);
        _kept.AddFirst(prompt);
    }

    private void Try(Action write)
    {
        try
        {
            write();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            WriteFailure = exception;
        }
    }
}
