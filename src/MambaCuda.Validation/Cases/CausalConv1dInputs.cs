namespace MambaCuda.Validation;

/// <summary>
/// The operands of a causal convolution as plain arrays: x (tokens, channels), weight (width, channels), bias (channels),
/// state (slots * (width - 1), channels), oldest first.
/// </summary>
public sealed record CausalConv1dInputs
{
    /// <summary>The length of each sequence.</summary>
    public required int[] Lengths { get; init; }

    /// <summary>The state slot of each sequence.</summary>
    public required int[] Slots { get; init; }

    /// <summary>The number of channels.</summary>
    public required int Channels { get; init; }

    /// <summary>The kernel's width.</summary>
    public required int Width { get; init; }

    /// <summary>The input.</summary>
    public required float[] X { get; init; }

    /// <summary>The kernel.</summary>
    public required float[] Weight { get; init; }

    /// <summary>The bias, or null.</summary>
    public float[]? Bias { get; init; }

    /// <summary>What came before each sequence, or null.</summary>
    public float[]? InitialState { get; init; }

    /// <summary>Whether SiLU follows.</summary>
    public bool Silu { get; init; }

    /// <summary>The tokens of all sequences.</summary>
    public int Tokens => Lengths.Sum();

    /// <summary>One more than the highest slot.</summary>
    public int SlotCount => Slots.Max() + 1;

    /// <summary>The same over what the terms of its sums are large: against that, rounding is to be measured.</summary>
    public CausalConv1dInputs Magnitudes() => this with
    {
        X = [.. X.Select(MathF.Abs)],
        Weight = [.. Weight.Select(MathF.Abs)],
        Bias = Bias?.Select(MathF.Abs).ToArray(),
        InitialState = InitialState?.Select(MathF.Abs).ToArray(),
        Silu = false,
    };

    /// <summary>The same with the input rounded to what a backend holds.</summary>
    public CausalConv1dInputs RoundActivations(Func<float[], float[]> round) => this with { X = round(X) };

    /// <summary>Steps [from, to) of each sequence; sequences keep their slots, and empty parts are left out.</summary>
    public CausalConv1dInputs Parts(Func<int, (int From, int To)> part)
    {
        PackedParts parts = new(Lengths, part);
        return this with { Lengths = parts.Lengths, Slots = parts.Select(Slots), X = parts.Rows(X, Channels) };
    }
}
