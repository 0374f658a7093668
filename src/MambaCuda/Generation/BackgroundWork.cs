using System.Threading.Tasks.Sources;

namespace MambaCuda;

/// <summary>
/// Does the same work on the thread pool for a caller who awaits, again and again without an allocation: it is its own work item and its own
/// awaitable.
/// </summary>
internal sealed class BackgroundWork(Action work) : IThreadPoolWorkItem, IValueTaskSource
{
    private ManualResetValueTaskSourceCore<bool> _completion = new() { RunContinuationsAsynchronously = false };

    /// <summary>Does it once more; the last time must have ended.</summary>
    public ValueTask RunAsync()
    {
        _completion.Reset();
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        return new ValueTask(this, _completion.Version);
    }

    void IThreadPoolWorkItem.Execute()
    {
        try
        {
            work();
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
}
