namespace MambaCuda;

/// <summary>A sequence as far as it has been run: its tokens, the state behind them and the logits of the next one.</summary>
internal sealed class CachedPrompt(int[] tokens, MambaState state, float[] logits) : IDisposable
{
    public int[] Tokens { get; } = tokens;

    /// <summary>One slot, nothing pending.</summary>
    public MambaState State { get; } = state;

    public float[] Logits { get; } = logits;

    /// <summary>Whether the folder has it too.</summary>
    public bool IsOnDisk { get; set; }

    public void Dispose() => State.Dispose();
}
