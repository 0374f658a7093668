using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The recurrent state of one or several sequences: for every layer the last conv kernel - 1 inputs of the convolution and the state of the
/// scan. Its size does not depend on how many tokens a sequence has seen. Each sequence has a slot.
/// </summary>
public sealed class MambaState : IDisposable
{
    private readonly MambaModel _model;
    private readonly LayerStates _layers;
    private readonly long[] _tokenCounts;
    private readonly int[][] _pending;
    private readonly int[] _pendingCounts;

    internal MambaState(MambaModel model, int slotCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(slotCount);
        _model = model;
        SlotCount = slotCount;
        _tokenCounts = new long[slotCount];
        _pending = new int[slotCount][];
        _pendingCounts = new int[slotCount];
        Array.Fill(_pending, []);
        _layers = Allocate(model, slotCount);
    }

    /// <summary>How many sequences it holds.</summary>
    public int SlotCount { get; }

    /// <summary>The model whose state it is.</summary>
    public MambaModel Model => _model;

    /// <summary>The bytes that the state of one sequence takes, however long the sequence is.</summary>
    public static long BytesFor(MambaConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return LayerStates.BytesFor(config);
    }

    /// <summary>The bytes that one sequence's state takes on the device.</summary>
    public long BytesPerSlot => BytesFor(_model.Config);

    /// <summary>How many tokens the sequence in a slot has run through the model.</summary>
    public long TokenCount(int slot = 0) => _tokenCounts[slot];

    /// <summary>
    /// Tokens that belong to the sequence in a slot but have not been run through the model yet: after generation, the last one.
    /// Whoever continues the sequence runs them first.
    /// </summary>
    public ReadOnlySpan<int> PendingTokens(int slot = 0) => _pending[slot].AsSpan(0, _pendingCounts[slot]);

    /// <summary>Sets <see cref="PendingTokens"/>.</summary>
    public void SetPendingTokens(ReadOnlySpan<int> tokenIds, int slot = 0)
    {
        // The array stays, since a generation sets and clears one token at every step.
        if (_pending[slot].Length < tokenIds.Length)
        {
            _pending[slot] = new int[tokenIds.Length];
        }

        tokenIds.CopyTo(_pending[slot]);
        _pendingCounts[slot] = tokenIds.Length;
    }

    /// <summary>Puts the sequence in a slot back to its start: zero state, no tokens.</summary>
    public void Reset(int slot = 0)
    {
        _layers.Clear(slot);
        _tokenCounts[slot] = 0;
        SetPendingTokens([], slot);
    }

    /// <summary>A second state, equal and independent.</summary>
    public MambaState Clone()
    {
        MambaState clone = new(_model, SlotCount);
        CopyTo(clone);
        return clone;
    }

    /// <summary>A point that all sequences can go back to, where they are now; it can be moved later.</summary>
    /// <exception cref="InsufficientMemoryException">There is no room for it; the message says how much it takes.</exception>
    public StateCheckpoint CreateCheckpoint() => new(this);

    /// <summary>Copies all sequences to a state of the same model with as many slots, by a single copy.</summary>
    /// <exception cref="ArgumentException">The other state is another model's, or has another number of slots.</exception>
    public void CopyTo(MambaState destination)
    {
        CheckModel(destination);
        if (destination.SlotCount != SlotCount)
        {
            throw new ArgumentException(
                $"The destination has {destination.SlotCount} slots, but {SlotCount} are to be copied.", nameof(destination));
        }

        destination.CopyLayers(this);
        for (int slot = 0; slot < SlotCount; slot++)
        {
            CopyTokens(slot, destination, slot);
        }
    }

    /// <summary>Copies the sequence in a slot to a slot of another state, or of this one, of the same model.</summary>
    /// <exception cref="ArgumentException">The other state is another model's.</exception>
    public void CopySlot(int slot, MambaState destination, int destinationSlot)
    {
        CheckModel(destination);
        if (SlotCount == 1 && destination.SlotCount == 1 && (slot | destinationSlot) == 0)
        {
            CopyTo(destination);
            return;
        }

        foreach ((MatrixView from, MatrixView to) in _layers.Parts(slot).Zip(destination._layers.Parts(destinationSlot)))
        {
            _model.Backend.Copy(from, to);
        }

        CopyTokens(slot, destination, destinationSlot);
    }

    /// <summary>The memory of all layers.</summary>
    internal LayerStates Layers => _layers;

    /// <summary>Copies all sequences from a state of the same model with as many slots.</summary>
    internal void CopyLayers(MambaState source) => _model.Backend.Copy(source._layers.Whole, _layers.Whole);

    /// <summary>
    /// The sequence in a slot as bytes: a versioned format with a checksum, bound to the model. See <see cref="Restore"/>.
    /// </summary>
    public byte[] Snapshot(int slot = 0)
    {
        float[] values = new float[BytesPerSlot / sizeof(float)];
        int done = 0;
        foreach (MatrixView part in _layers.Parts(slot))
        {
            int count = checked((int)(part.Rows * part.Columns));
            _model.Backend.Download(part, values.AsSpan(done, count));
            done += count;
        }

        return StateSnapshot.Write(_model.Fingerprint, _tokenCounts[slot], PendingTokens(slot), values);
    }

    /// <summary>Puts a <see cref="Snapshot"/> into a slot.</summary>
    /// <exception cref="StateException">The bytes are damaged, of another version, or another model's. The slot is as it was.</exception>
    public void Restore(ReadOnlySpan<byte> snapshot, int slot = 0)
    {
        float[] values = new float[BytesPerSlot / sizeof(float)];
        (long tokenCount, int[] pending) = StateSnapshot.Read(snapshot, _model.Fingerprint, _model.Config.VocabularySize, values);
        int done = 0;
        foreach (MatrixView part in _layers.Parts(slot))
        {
            int count = checked((int)(part.Rows * part.Columns));
            _model.Backend.Upload(values.AsSpan(done, count), part);
            done += count;
        }

        _tokenCounts[slot] = tokenCount;
        SetPendingTokens(pending, slot);
    }

    /// <summary>Writes a <see cref="Snapshot"/> to a file; the file is the old one or the whole new one, never a part.</summary>
    public void Save(string path, int slot = 0) => WholeFile.Write(path, Snapshot(slot));

    /// <summary>Reads a file that <see cref="Save"/> wrote into a slot.</summary>
    /// <exception cref="StateException">The file is damaged, of another version, or another model's; the message names it. The slot is as
    /// it was.</exception>
    public void Load(string path, int slot = 0)
    {
        long expected = StateSnapshot.MaximumLength(BytesPerSlot);
        if (new FileInfo(path) is { Exists: true } file && file.Length > expected)
        {
            throw new StateException($"{path}: {file.Length} bytes are more than a state of this model takes ({expected} at most).");
        }

        try
        {
            Restore(File.ReadAllBytes(path), slot);
        }
        catch (StateException exception)
        {
            throw new StateException($"{path}: {exception.Message}", exception);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _layers.Dispose();

    internal MatrixView Convolution(int layer) => _layers.Convolution(layer);

    internal MatrixView Scan(int layer) => _layers.Scan(layer);

    /// <summary>Notes how many tokens the sequence in a slot has run.</summary>
    internal void SetTokenCount(long tokens, int slot) => _tokenCounts[slot] = tokens;

    internal void Advance(SequenceLayout sequences)
    {
        for (int i = 0; i < sequences.Count; i++)
        {
            _tokenCounts[sequences.Slots[i]] += sequences.Starts[i + 1] - sequences.Starts[i];
        }
    }

    private void CheckModel(MambaState destination)
    {
        ArgumentNullException.ThrowIfNull(destination);
        if (destination._model != _model)
        {
            throw new ArgumentException("The destination is the state of another model.", nameof(destination));
        }
    }

    private void CopyTokens(int slot, MambaState destination, int destinationSlot)
    {
        destination._tokenCounts[destinationSlot] = _tokenCounts[slot];
        destination.SetPendingTokens(PendingTokens(slot), destinationSlot);
    }

    private static LayerStates Allocate(MambaModel model, int slotCount)
    {
        long each = BytesFor(model.Config), bytes = checked(slotCount * each);
        try
        {
            return new LayerStates(model.Config, model.Backend, slotCount);
        }
        catch (InsufficientMemoryException exception)
        {
            string room = model.Backend.AvailableMemory is { } available
                ? string.Create(CultureInfo.InvariantCulture, $" There is room for {available / each:N0}.") : "";
            throw new InsufficientMemoryException(
                string.Create(
                    CultureInfo.InvariantCulture, $"The states of {slotCount:N0} sequences take {bytes:N0} bytes, {each:N0} each.")
                + $"{room} {exception.Message}",
                exception);
        }
    }
}
