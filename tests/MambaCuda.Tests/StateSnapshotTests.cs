using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>States: copies, resets, bytes and files, and what is refused.</summary>
public sealed class StateSnapshotTests : IDisposable
{
    private readonly CpuBackend _backend = new(threads: 1);
    private readonly RandomWeights _weights = new(TinyModel.Config, DataType.BFloat16, seed: 5);
    private readonly MambaModel _model;

    public StateSnapshotTests() => _model = MambaModel.Create(TinyModel.Config, _weights.Tensors, _backend);

    [Fact]
    public void A_clone_is_equal_and_independent()
    {
        using MambaState state = Advanced(12);
        using MambaState clone = state.Clone();
        Assert.Equal(state.Snapshot(), clone.Snapshot());
        Run(clone, 3);
        Assert.NotEqual(state.Snapshot(), clone.Snapshot());
        Assert.Equal(12, state.TokenCount());
        Assert.Equal(15, clone.TokenCount());
    }

    [Fact]
    public void A_reset_slot_is_as_new_and_the_others_stay()
    {
        using MambaState fresh = _model.CreateState();
        using MambaState state = _model.CreateState(2);
        _model.Forward(TinyModel.RandomIds(20, 3), SequenceLayout.Uniform(2, 10), state, []);
        byte[] other = state.Snapshot(1);
        state.SetPendingTokens([7], 0);
        state.Reset(0);
        Assert.Equal(fresh.Snapshot(), state.Snapshot(0));
        Assert.Equal(other, state.Snapshot(1));
    }

    [Fact]
    public void A_file_brings_back_state_token_count_and_pending_tokens()
    {
        string path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.state");
        try
        {
            using MambaState state = Advanced(9), restored = _model.CreateState(3);
            state.SetPendingTokens([4, 5]);
            state.Save(path);
            restored.Load(path, slot: 2);
            Assert.Equal(state.Snapshot(), restored.Snapshot(2));
            Assert.Equal([4, 5], restored.PendingTokens(2).ToArray());
            Assert.Equal(9, restored.TokenCount(2));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Every_damaged_byte_and_every_cut_is_refused_and_the_slot_stays()
    {
        using MambaState state = Advanced(9), target = Advanced(4);
        byte[] snapshot = state.Snapshot(), before = target.Snapshot();
        for (int i = 0; i < snapshot.Length; i += 7)
        {
            byte[] damaged = [.. snapshot];
            damaged[i] ^= 0x10;
            Assert.Throws<StateException>(() => target.Restore(damaged));
            Assert.Throws<StateException>(() => target.Restore(snapshot.AsSpan(0, i)));
        }

        Assert.Equal(before, target.Snapshot());
    }

    [Fact]
    public void Another_models_state_is_refused()
    {
        using RandomWeights weights = new(TinyModel.Config, DataType.BFloat16, seed: 6);
        using MambaModel other = MambaModel.Create(TinyModel.Config, weights.Tensors, _backend);
        using MambaState state = other.CreateState(), target = _model.CreateState();
        StateException refused = Assert.Throws<StateException>(() => target.Restore(state.Snapshot()));
        Assert.Contains("another model", refused.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => state.CopySlot(0, target, 0));
        Assert.Throws<ArgumentException>(() => _model.Forward([1], SequenceLayout.Uniform(1, 1), state, []));
    }

    [Fact]
    public void Another_version_is_refused_by_its_number()
    {
        using MambaState state = _model.CreateState();
        byte[] snapshot = state.Snapshot();
        snapshot[8] = 99;
        StateException refused = Assert.Throws<StateException>(() => state.Restore(snapshot));
        Assert.Contains("99", refused.Message, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        _model.Dispose();
        _weights.Dispose();
        _backend.Dispose();
    }

    private MambaState Advanced(int tokens)
    {
        MambaState state = _model.CreateState();
        Run(state, tokens);
        return state;
    }

    private void Run(MambaState state, int tokens) =>
        _model.Forward(TinyModel.RandomIds(tokens, seed: tokens), SequenceLayout.Uniform(1, tokens), state, []);
}
