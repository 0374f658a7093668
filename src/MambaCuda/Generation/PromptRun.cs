using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Runs the prompts of a batch, those with the fewest tokens left first, in pieces: no sequence has more than so many tokens in one, and is
/// cut where it would be alone. Between two pieces what is left of a prompt is pending in the state, so a caller may stop there.
/// </summary>
internal sealed class PromptRun
{
    private readonly MambaState _state;
    private readonly int _pieceTokens;
    private readonly List<GeneratedSequence> _waiting;
    private readonly BackgroundWork _work;
    private int[] _tokens = [];
    private float[] _logits = [];
    private SequenceLayout? _layout;

    public PromptRun(MambaState state, IEnumerable<GeneratedSequence> sequences, int pieceTokens)
    {
        _state = state;
        _pieceTokens = Math.Min(pieceTokens, state.Model.ChunkTokens);
        _waiting = [.. sequences.OrderBy(sequence => sequence.Input.Length).ThenBy(sequence => sequence.Number)];
        _work = new BackgroundWork(Run);
    }

    /// <summary>Whether prompts are left.</summary>
    public bool IsWaiting => _waiting.Count > 0;

    /// <summary>Runs a piece, if any is needed.</summary>
    /// <param name="othersWait">
    /// Whether texts of the batch wait for their next token meanwhile: then all of it has no more tokens than a piece of one sequence.
    /// </param>
    /// <param name="cancellation">Looked at before.</param>
    /// <returns>The sequences whose prompts have ended, their first logits known, by number.</returns>
    public async ValueTask<List<GeneratedSequence>> NextAsync(bool othersWait, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        // What a cache had as a whole begins at once.
        List<GeneratedSequence> begun = _waiting.FindAll(sequence => sequence.Input.Length == 0);
        if (begun.Count == 0)
        {
            List<GeneratedSequence> running = Choose(othersWait ? _pieceTokens : _state.Model.ChunkTokens);
            await _work.RunAsync().ConfigureAwait(false);
            Note(running);
            begun = running.FindAll(sequence => sequence.Input.Length == 0);
        }

        begun.ForEach(sequence => sequence.HasBegun = true);
        _waiting.RemoveAll(begun.Contains);
        begun.Sort((left, right) => left.Number.CompareTo(right.Number));
        return begun;
    }

    private int PieceOf(GeneratedSequence sequence) => Math.Min(sequence.Input.Length, _pieceTokens);

    private List<GeneratedSequence> Choose(int most)
    {
        List<GeneratedSequence> running = [];
        int total = 0;
        foreach (GeneratedSequence sequence in _waiting)
        {
            if (running.Count > 0 && total + PieceOf(sequence) > most)
            {
                break;
            }

            running.Add(sequence);
            total += PieceOf(sequence);
        }

        _tokens = [.. running.SelectMany(sequence => sequence.Input.Take(PieceOf(sequence)))];
        _layout = SequenceLayout.Packed([.. running.Select(PieceOf)], [.. running.Select(sequence => sequence.Slot)]);
        bool anyEnds = running.Exists(sequence => sequence.Input.Length <= _pieceTokens);
        _logits = anyEnds ? new float[running.Count * _state.Model.Config.VocabularySize] : [];
        return running;
    }

    private void Run() => _state.Model.Forward(_tokens, _layout!, _state, _logits);

    private void Note(List<GeneratedSequence> running)
    {
        int vocabulary = _state.Model.Config.VocabularySize;
        for (int i = 0; i < running.Count; i++)
        {
            running[i].Input = running[i].Input[PieceOf(running[i])..];
            running[i].HasBegun = true;
            _state.SetPendingTokens(running[i].Input, running[i].Slot);
            if (running[i].Input.Length == 0)
            {
                running[i].FirstLogits = running.Count == 1 ? _logits : _logits.AsSpan(i * vocabulary, vocabulary).ToArray();
            }
        }
    }
}
