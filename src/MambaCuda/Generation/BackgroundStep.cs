using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Runs the model on the thread pool (see <see cref="BackgroundWork"/>). It is never stopped within a step, so a cancelled caller finds the
/// state between two tokens.
/// </summary>
internal sealed class BackgroundStep
{
    private readonly MambaModel _model;
    private readonly MambaState _state;
    private readonly BackgroundWork _work;
    private float[] _logits = [];
    private int[] _tokens = [];
    private SequenceLayout? _layout;
    private int _layoutCount;

    public BackgroundStep(MambaModel model, MambaState state)
    {
        _model = model;
        _state = state;
        _work = new BackgroundWork(Run);
    }

    /// <summary>The logits of a sequence after the step, by its place among the active ones.</summary>
    public ReadOnlySpan<float> Logits(int i) => _logits.AsSpan(i * _model.Config.VocabularySize, _model.Config.VocabularySize);

    /// <summary>Runs the prompts, or the last token, of the active sequences.</summary>
    public ValueTask RunAsync(List<GeneratedSequence> active, bool prompt, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (prompt)
        {
            PreparePrompts(active);
        }
        else
        {
            PrepareTokens(active);
        }

        return _work.RunAsync();
    }

    private void Run()
    {
        _model.Forward(_tokens, _layout!, _state, _logits);
        foreach (int slot in _layout!.Slots)
        {
            _state.SetPendingTokens([], slot);
        }
    }

    private void PreparePrompts(List<GeneratedSequence> active)
    {
        _tokens = [.. active.SelectMany(sequence => sequence.Input)];
        _layout =
            SequenceLayout.Packed([.. active.Select(sequence => sequence.Input.Length)], [.. active.Select(sequence => sequence.Slot)]);
        _layoutCount = 0;
        _logits = new float[active.Count * _model.Config.VocabularySize];
    }

    private void PrepareTokens(List<GeneratedSequence> active)
    {
        if (_layoutCount != active.Count)
        {
            int[] ones = new int[active.Count];
            Array.Fill(ones, 1);
            _layout = SequenceLayout.Packed(ones, [.. active.Select(sequence => sequence.Slot)]);
            _layoutCount = active.Count;
            _tokens = new int[active.Count];
            _logits = new float[active.Count * _model.Config.VocabularySize];
        }

        for (int i = 0; i < active.Count; i++)
        {
            _tokens[i] = active[i].LastId!.Value;
        }
    }
}
