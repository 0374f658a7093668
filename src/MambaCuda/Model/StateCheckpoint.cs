namespace MambaCuda;

/// <summary>
/// A point that the sequences of a <see cref="MambaState"/> can go back to: what each had run, and what was pending, when it was taken. It has
/// memory of its own where the model computes, as much as the state, whatever the sequences' lengths; taking it and going back are copies
/// there that allocate nothing and do not wait. A state may have any number of them. See <see cref="MambaState.CreateCheckpoint"/>.
/// </summary>
public sealed class StateCheckpoint : IDisposable
{
    internal StateCheckpoint(MambaState state)
    {
        State = state;
        Saved = state.Clone();
    }

    /// <summary>The state that it is of.</summary>
    public MambaState State { get; }

    /// <summary>The sequences as they were. Passes that leave a point between two of their tokens leave it here.</summary>
    internal MambaState Saved { get; }

    /// <summary>How many tokens the sequence in a slot had run.</summary>
    public long TokenCount(int slot = 0) => Saved.TokenCount(slot);

    /// <summary>The tokens that were pending in a slot.</summary>
    public ReadOnlySpan<int> PendingTokens(int slot = 0) => Saved.PendingTokens(slot);

    /// <summary>Moves the point to where all sequences are now.</summary>
    public void Take() => State.CopyTo(Saved);

    /// <summary>Moves the point of one slot to where its sequence is now.</summary>
    public void Take(int slot) => State.CopySlot(slot, Saved, slot);

    /// <summary>Puts all sequences back to the point, exactly, as often as is wanted.</summary>
    public void RollBack() => Saved.CopyTo(State);

    /// <summary>Puts the sequence of one slot back; the others stay.</summary>
    public void RollBack(int slot) => Saved.CopySlot(slot, State, slot);

    /// <summary>Gives the memory back. The state stays as it is.</summary>
    public void Dispose() => Saved.Dispose();
}
