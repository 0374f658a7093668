using System.Threading.Tasks.Sources;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Runs the model on the thread pool for a caller who awaits, again and again without an allocation: it is its own work item and its own
/// awaitable. The model is never stopped within a step, so a cancelled caller finds the state between two tokens.
/// </summary>
internal sealed class BackgroundStep(MambaModel model, MambaState state) : IThreadPoolWorkItem, IValueTaskSource
{
    private ManualResetValueTaskSourceCore<bool> _completion = new() { RunContinuationsAsynchronously = false };
    private float[] _logits = [];
    private int[] _tokens = [];
    private SequenceLayout? _layout;
    private int _layoutCount;

    /// <summary>The logits of a sequence after the step, by its place among the active ones.</summary>
    public ReadOnlySpan<float> Logits(int i) => _logits.AsSpan(i * model.Config.VocabularySize, model.Config.VocabularySize);

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

        _completion.Reset();
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        return new ValueTask(this, _completion.Version);
    }

    void IThreadPoolWorkItem.Execute()
    {
        try
        {
            model.Forward(_tokens, _layout!, state, _logits);
            foreach (int slot in _layout!.Slots)
            {
                state.SetPendingTokens([], slot);
            }
        }
        catch (Exception exception)
        {
            _completion.SetException(exception);
            return;
        }

        _completion.SetResult(true);
    }

    void IValueTaskSource.GetResult(short token) => _completion.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _completion.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _completion.OnCompleted(continuation, state, token, flags);

    private void PreparePrompts(List<GeneratedSequence> active)
    {
        _tokens = [.. active.SelectMany(sequence => sequence.Input)];
        _layout =
            SequenceLayout.Packed([.. active.Select(sequence => sequence.Input.Length)], [.. active.Select(sequence => sequence.Slot)]);
        _layoutCount = 0;
        _logits = new float[active.Count * model.Config.VocabularySize];
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
            _logits = new float[active.Count * model.Config.VocabularySize];
        }

        for (int i = 0; i < active.Count; i++)
        {
            _tokens[i] = active[i].LastId!.Value;
        }
    }
}
