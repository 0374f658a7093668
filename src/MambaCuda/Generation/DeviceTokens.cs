namespace MambaCuda;

/// <summary>
/// Tokens chosen on the device, by a <see cref="DecodeLoop"/> over all sequences. One that has ended stays in it until half of them have;
/// then the others go on in a smaller one. It waits on the thread pool.
/// </summary>
internal sealed class DeviceTokens : TokenSource
{
    private readonly MambaState _given;
    private readonly List<int> _rows = [];
    private readonly BackgroundWork _work;
    private MambaState _state;
    private DecodeLoop _loop;
    private SampledToken[] _tokens;
    private int _chosen;
    private bool _goOn;

    public DeviceTokens(MambaState state, IReadOnlyList<GeneratedSequence> sequences)
    {
        _given = _state = state;
        _work = new BackgroundWork(Run);
        _loop = new DecodeLoop(state, [.. sequences.Select(sequence => sequence.Sampler)]);
        _tokens = new SampledToken[sequences.Count];
        _rows.AddRange(sequences.Select(sequence => sequence.Slot));
        float[] logits = new float[sequences.Count * state.Model.Config.VocabularySize];
        foreach (GeneratedSequence sequence in sequences)
        {
            sequence.FirstLogits.CopyTo(logits, sequence.Slot * state.Model.Config.VocabularySize);
        }

        _loop.Start(logits);
    }

    public override ValueTask NextAsync(List<GeneratedSequence> active, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (active.Count * 2 <= _loop.Rows)
        {
            Shrink(active);
        }

        // Whoever is to end with this token needs no step behind it.
        _goOn = active.Exists(sequence => sequence.TokensLeft > 1);
        return _work.RunAsync();
    }

    public override SampledToken Token(GeneratedSequence sequence, int place) => _tokens[_rows[sequence.Slot]];

    public override float[] LogitsOf(GeneratedSequence sequence, int place)
    {
        float[] logits = new float[_given.Model.Config.VocabularySize];
        _loop.CopyLogits(_rows[sequence.Slot], logits);
        return logits;
    }

    public override void CopyTo(GeneratedSequence sequence, MambaState destination)
    {
        _loop.CopyRow(_rows[sequence.Slot], destination, 0);
        if (sequence.TokensTaken < _chosen)
        {
            destination.SetPendingTokens([]);
        }
    }

    public override void Dispose()
    {
        _loop.Dispose();
        if (_state != _given)
        {
            _state.Dispose();
        }
    }

    private void Run()
    {
        _loop.Next(_goOn).CopyTo(_tokens);
        _chosen++;
    }

    /// <summary>Goes on with the active sequences alone.</summary>
    private void Shrink(List<GeneratedSequence> active)
    {
        MambaState state = _given.Model.CreateState(active.Count);
        try
        {
            int[] pending = new int[active.Count];
            for (int row = 0; row < active.Count; row++)
            {
                _loop.CopyRow(_rows[active[row].Slot], state, row);
                pending[row] = state.PendingTokens(row)[0];
                state.SetPendingTokens([], row);
            }

            DecodeLoop smaller = new(state, [.. active.Select(sequence => sequence.Sampler)]);
            Dispose();
            (_state, _loop, _tokens) = (state, smaller, new SampledToken[active.Count]);
            smaller.Start(pending);
        }
        catch
        {
            state.Dispose();
            throw;
        }

        for (int row = 0; row < active.Count; row++)
        {
            _rows[active[row].Slot] = row;
        }
    }
}
