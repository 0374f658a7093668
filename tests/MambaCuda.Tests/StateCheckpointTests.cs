using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Points that states go back to: exactly, as often as is wanted, slot by slot, without an allocation.</summary>
public sealed class StateCheckpointTests : IDisposable
{
    private readonly Backend _backend = ModelBackends.Open("cpu");
    private readonly RandomWeights _weights = new(TinyModel.Config, DataType.Float32, seed: 5);
    private readonly MambaModel _model;

    public StateCheckpointTests() => _model = MambaModel.Create(TinyModel.Config, _weights.Tensors, _backend);

    [Fact]
    public void A_state_goes_back_to_any_of_its_points_as_often_as_is_wanted()
    {
        using MambaState state = _model.CreateState();
        using StateCheckpoint start = state.CreateCheckpoint();
        byte[] atStart = state.Snapshot();
        Run(state, 9);
        state.SetPendingTokens([4, 5]);
        using StateCheckpoint later = state.CreateCheckpoint();
        byte[] atLater = state.Snapshot();
        Assert.Equal((0, 9), (start.TokenCount(), later.TokenCount()));
        Assert.Equal([4, 5], later.PendingTokens().ToArray());
        for (int i = 0; i < 3; i++)
        {
            Run(state, 4 + i);
            state.SetPendingTokens([]);
            later.RollBack();
            Assert.Equal(atLater, state.Snapshot());
            start.RollBack();
            Assert.Equal(atStart, state.Snapshot());
        }

        later.RollBack();
        Run(state, 3);
        byte[] atThird = state.Snapshot();
        start.Take();
        Run(state, 2);
        start.RollBack();
        Assert.Equal(atThird, state.Snapshot());
        later.Dispose();
        Assert.Equal(atThird, state.Snapshot());
    }

    [Fact]
    public void A_slot_goes_back_alone()
    {
        using MambaState state = _model.CreateState(3);
        Run(state, 5);
        using StateCheckpoint point = state.CreateCheckpoint();
        byte[][] before = [.. Enumerable.Range(0, 3).Select(slot => state.Snapshot(slot))];
        Run(state, 4);
        byte[][] after = [.. Enumerable.Range(0, 3).Select(slot => state.Snapshot(slot))];
        point.RollBack(1);
        Assert.Equal([after[0], before[1], after[2]], Enumerable.Range(0, 3).Select(slot => state.Snapshot(slot)));

        // Moved for one slot, the point is where it was for the others.
        point.Take(2);
        Run(state, 1);
        point.RollBack();
        Assert.Equal([before[0], before[1], after[2]], Enumerable.Range(0, 3).Select(slot => state.Snapshot(slot)));
        Assert.Equal((5, 9), (point.TokenCount(1), point.TokenCount(2)));
    }

    [Fact]
    public void Taking_and_going_back_allocate_nothing()
    {
        using MambaState state = _model.CreateState(2);
        using StateCheckpoint point = state.CreateCheckpoint();
        Run(state, 3);
        state.SetPendingTokens([1], 1);
        point.Take();
        point.RollBack();
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 50; i++)
            {
                point.Take();
                point.RollBack();
            }
        }));
    }

    [Fact]
    public void Whole_copies_need_states_of_one_kind()
    {
        using MambaState two = _model.CreateState(2), three = _model.CreateState(3);
        Assert.Contains("3 slots", Assert.Throws<ArgumentException>(() => two.CopyTo(three)).Message, StringComparison.Ordinal);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 6);
        using MambaModel other = MambaModel.Create(TinyModel.Config, weights.Tensors, _backend);
        using MambaState foreign = other.CreateState(2);
        Assert.Contains("another model", Assert.Throws<ArgumentException>(() => two.CopyTo(foreign)).Message, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        _model.Dispose();
        _weights.Dispose();
        _backend.Dispose();
    }

    private void Run(MambaState state, int count) => _model.Forward(
        TinyModel.RandomIds(count * state.SlotCount, seed: count), SequenceLayout.Uniform(state.SlotCount, count), state, []);
}
