using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Passes over the same memory that differ in their sizes alone: where the backend can capture operations, each is captured at its second run,
/// and is one call from then on. The first compiles kernels and allocates what operations need.
/// </summary>
internal sealed class CapturedPasses(Backend backend) : IDisposable
{
    private readonly Dictionary<(int Tokens, int Rows), CapturedOperations?> _passes = [];

    /// <summary>Runs a pass.</summary>
    /// <param name="tokens">How many tokens it runs.</param>
    /// <param name="rows">How many of them have their logits made.</param>
    /// <param name="operations">What it calls; only operations that can be captured.</param>
    public void Run(int tokens, int rows, Action operations)
    {
        if (!backend.CanCapture || !_passes.TryGetValue((tokens, rows), out CapturedOperations? captured))
        {
            _passes[(tokens, rows)] = null;
            operations();
            return;
        }

        if (captured is not { IsCurrent: true })
        {
            captured?.Dispose();
            _passes[(tokens, rows)] = null;
            _passes[(tokens, rows)] = captured = backend.Capture(operations);
        }

        captured.Run();
    }

    public void Dispose()
    {
        foreach (CapturedOperations? captured in _passes.Values)
        {
            captured?.Dispose();
        }
    }
}
