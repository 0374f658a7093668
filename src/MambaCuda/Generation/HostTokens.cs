namespace MambaCuda;

/// <summary>Tokens chosen on the host from the logits of each pass. The states are run in place.</summary>
internal sealed class HostTokens(MambaState state) : TokenSource
{
    private readonly BackgroundStep _step = new(state.Model, state);
    private bool _hasRun;

    public override ValueTask NextAsync(List<GeneratedSequence> active, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (active[0].LastId is null)
        {
            return ValueTask.CompletedTask;
        }

        _hasRun = true;
        return _step.RunAsync(active, prompt: false, cancellation);
    }

    public override SampledToken Token(GeneratedSequence sequence, int place)
    {
        SampledToken token = sequence.Sampler.Sample(Logits(sequence, place));
        state.SetPendingTokens([token.Id], sequence.Slot);
        return token;
    }

    public override float[] LogitsOf(GeneratedSequence sequence, int place) => Logits(sequence, place).ToArray();

    public override void CopyTo(GeneratedSequence sequence, MambaState destination) => state.CopySlot(sequence.Slot, destination, 0);

    public override void Dispose()
    {
    }

    private ReadOnlySpan<float> Logits(GeneratedSequence sequence, int place) => _hasRun ? _step.Logits(place) : sequence.FirstLogits;
}
