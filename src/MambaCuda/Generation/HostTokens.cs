using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Tokens chosen on the host from the logits of each pass, which runs on the thread pool (see <see cref="BackgroundWork"/>). The states are run
/// in place.
/// </summary>
internal sealed class HostTokens : TokenSource
{
    private readonly MambaModel _model;
    private readonly MambaState _state;
    private readonly BackgroundWork _work;
    private float[] _logits = [];
    private int[] _tokens = [];
    private SequenceLayout _layout = SequenceLayout.Uniform(1, 1);

    public HostTokens(MambaState state)
    {
        _model = state.Model;
        _state = state;
        _work = new BackgroundWork(Run);
    }

    public override void Join(List<GeneratedSequence> active) => active.ForEach(sequence => sequence.HasJoined = true);

    public override ValueTask NextAsync(List<GeneratedSequence> active, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        Prepare(active);
        return _work.RunAsync();
    }

    public override SampledToken Token(GeneratedSequence sequence, int place)
    {
        SampledToken token = sequence.Sampler.Sample(Logits(place));
        _state.SetPendingTokens([token.Id], sequence.Slot);
        return token;
    }

    public override float[] LogitsOf(GeneratedSequence sequence, int place) => Logits(place).ToArray();

    public override void CopyTo(GeneratedSequence sequence, MambaState destination) => _state.CopySlot(sequence.Slot, destination, 0);

    public override void Dispose()
    {
    }

    private ReadOnlySpan<float> Logits(int place) =>
        _logits.AsSpan(place * _model.Config.VocabularySize, _model.Config.VocabularySize);

    private void Prepare(List<GeneratedSequence> active)
    {
        bool same = _tokens.Length == active.Count;
        for (int i = 0; same && i < active.Count; i++)
        {
            same = _layout.Slots[i] == active[i].Slot;
        }

        if (!same)
        {
            int[] ones = new int[active.Count];
            Array.Fill(ones, 1);
            _layout = SequenceLayout.Packed(ones, [.. active.Select(sequence => sequence.Slot)]);
            _tokens = new int[active.Count];
            _logits = new float[active.Count * _model.Config.VocabularySize];
        }

        for (int i = 0; i < active.Count; i++)
        {
            _tokens[i] = active[i].LastId!.Value;
        }
    }

    private void Run()
    {
        _model.Forward(_tokens, _layout, _state, _logits);
        foreach (int slot in _layout.Slots)
        {
            _state.SetPendingTokens([], slot);
        }
    }
}
