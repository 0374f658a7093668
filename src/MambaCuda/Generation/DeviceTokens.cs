namespace MambaCuda;

/// <summary>
/// Tokens chosen on the device, by a <see cref="DecodeLoop"/> over all sequences. One that has ended stays in it until half of them have;
/// then, and when others join, those that are active go on in another one. It waits on the thread pool.
/// </summary>
internal sealed class DeviceTokens : TokenSource
{
    private readonly MambaState _given;
    private readonly BackgroundWork _work;

    // The row of each slot in the loop; -1 for those that have not joined.
    private readonly int[] _rows;
    private MambaState? _state;
    private DecodeLoop? _loop;
    private SampledToken[] _tokens = [];

    // Tokens that the loop has given each row since it was made, and those that each sequence had then.
    private readonly int[] _taken;
    private int _chosen;
    private bool _goOn;

    public DeviceTokens(MambaState state)
    {
        _given = state;
        _rows = new int[state.SlotCount];
        _taken = new int[state.SlotCount];
        Array.Fill(_rows, -1);
        _work = new BackgroundWork(Run);
    }

    public override void Join(List<GeneratedSequence> active)
    {
        MoveTo(active);
        active.ForEach(sequence => sequence.HasJoined = true);
    }

    public override ValueTask NextAsync(List<GeneratedSequence> active, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (active.Count * 2 <= _loop!.Rows)
        {
            MoveTo(active);
        }

        // Whoever is to end with this token needs no step behind it.
        _goOn = active.Exists(sequence => sequence.TokensLeft > 1);
        return _work.RunAsync();
    }

    public override SampledToken Token(GeneratedSequence sequence, int place) => _tokens[_rows[sequence.Slot]];

    public override float[] LogitsOf(GeneratedSequence sequence, int place)
    {
        float[] logits = new float[_given.Model.Config.VocabularySize];
        _loop!.CopyLogits(_rows[sequence.Slot], logits);
        return logits;
    }

    public override void CopyTo(GeneratedSequence sequence, MambaState destination)
    {
        _loop!.CopyRow(_rows[sequence.Slot], destination, 0);
        if (sequence.TokensTaken - _taken[sequence.Slot] < _chosen)
        {
            destination.SetPendingTokens([]);
        }
    }

    public override void Dispose()
    {
        _loop?.Dispose();
        if (_state != _given)
        {
            _state?.Dispose();
        }
    }

    private void Run()
    {
        _loop!.Next(_goOn).CopyTo(_tokens);
        _chosen++;
    }

    /// <summary>Goes on with the active sequences alone, in a loop over the given states where these are all of them, else over copies.</summary>
    private void MoveTo(List<GeneratedSequence> active)
    {
        bool inPlace = _loop is null && active.Count == _given.SlotCount;
        MambaState state = inPlace ? _given : _given.Model.CreateState(active.Count);
        try
        {
            int[] pending = new int[active.Count];
            for (int row = 0; row < active.Count; row++)
            {
                int slot = active[row].Slot;
                if (_rows[slot] >= 0)
                {
                    _loop!.CopyRow(_rows[slot], state, row);
                }
                else if (!inPlace)
                {
                    _given.CopySlot(slot, state, row);
                }

                pending[row] = state.PendingTokens(row)[0];
            }

            DecodeLoop loop = new(state, [.. active.Select(sequence => sequence.Sampler)]);
            Dispose();
            (_state, _loop, _tokens, _chosen) = (state, loop, new SampledToken[active.Count], 0);
            loop.Start(pending);
        }
        catch
        {
            if (!inPlace)
            {
                state.Dispose();
            }

            throw;
        }

        for (int row = 0; row < active.Count; row++)
        {
            _rows[active[row].Slot] = row;
            _taken[active[row].Slot] = active[row].TokensTaken;
        }
    }
}
