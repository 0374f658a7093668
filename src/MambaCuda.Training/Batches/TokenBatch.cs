using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// What one training step sees: tokens of sequences that lie one after the other without padding, and after each the token that should
/// follow it. Immutable.
/// </summary>
public sealed class TokenBatch
{
    /// <summary>A target that is no token: its position has no loss and no gradient.</summary>
    public const int IgnoredTarget = CrossEntropyArgs.IgnoredTarget;

    private readonly int[] _tokens;
    private readonly int[] _targets;

    /// <summary>Creates a batch, which owns the arrays from then on.</summary>
    /// <param name="tokens">The ids of all sequences, (rows).</param>
    /// <param name="targets">The id that follows each token, or <see cref="IgnoredTarget"/>, (rows).</param>
    /// <param name="layout">Which rows belong to which sequence.</param>
    /// <exception cref="ArgumentException">The three do not have the same number of rows.</exception>
    public TokenBatch(int[] tokens, int[] targets, SequenceLayout layout)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(targets);
        ArgumentNullException.ThrowIfNull(layout);
        if (tokens.Length != layout.TotalLength || targets.Length != layout.TotalLength)
        {
            throw new ArgumentException(
                $"The layout has {layout.TotalLength} rows, but there are {tokens.Length} tokens and {targets.Length} targets.",
                nameof(layout));
        }

        _tokens = tokens;
        _targets = targets;
        Layout = layout;
        TargetCount = targets.Length - targets.AsSpan().Count(IgnoredTarget);
    }

    /// <summary>The ids of all sequences, (rows).</summary>
    public ReadOnlySpan<int> Tokens => _tokens;

    /// <summary>The id that follows each token, or <see cref="IgnoredTarget"/>, (rows).</summary>
    public ReadOnlySpan<int> Targets => _targets;

    /// <summary>Which rows belong to which sequence.</summary>
    public SequenceLayout Layout { get; }

    /// <summary>How many targets are not ignored: what a mean loss divides by.</summary>
    public int TargetCount { get; }

    /// <summary>The rows whose targets are not ignored, in their order, (<see cref="TargetCount"/>).</summary>
    public int[] TargetRows()
    {
        int[] rows = new int[TargetCount];
        int count = 0;
        for (int row = 0; row < _targets.Length; row++)
        {
            if (_targets[row] != IgnoredTarget)
            {
                rows[count++] = row;
            }
        }

        return rows;
    }
}
