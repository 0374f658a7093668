namespace MambaCuda.Testing;

/// <summary>
/// The operands of a selective scan as plain arrays, tokens before channels: u, delta, z, y (tokens, channels); A (state size, channels);
/// B, C (tokens, groups * state size), or (state size, channels) where constant; states (slots * state size, channels).
/// </summary>
public sealed record SelectiveScanInputs
{
    public required int[] Lengths { get; init; }

    public required int[] Slots { get; init; }

    public required int Channels { get; init; }

    public required int StateSize { get; init; }

    public int Groups { get; init; } = 1;

    public required float[] U { get; init; }

    public required float[] Delta { get; init; }

    public required float[] A { get; init; }

    public required float[] B { get; init; }

    public required float[] C { get; init; }

    public float[]? D { get; init; }

    public float[]? Z { get; init; }

    public float[]? DeltaBias { get; init; }

    public float[]? InitialState { get; init; }

    public bool DeltaSoftplus { get; init; }

    public bool ConstantB { get; init; }

    public bool ConstantC { get; init; }

    public int Tokens => Lengths.Sum();

    public int SlotCount => Slots.Max() + 1;

    /// <summary>
    /// The same scan over what the terms of its sums are large, so that float64 gives the size against which rounding is to be measured:
    /// where terms cancel, y is small and its error is not. Right as long as delta is not negative.
    /// </summary>
    public SelectiveScanInputs Magnitudes() => this with
    {
        U = Absolute(U),
        B = Absolute(B),
        C = Absolute(C),
        D = D is null ? null : Absolute(D),
        InitialState = InitialState is null ? null : Absolute(InitialState),
    };

    /// <summary>The same with every operand that a backend may hold in 16 bits rounded to what it holds.</summary>
    public SelectiveScanInputs RoundActivations(Func<float[], float[]> round) => this with
    {
        U = round(U),
        Delta = round(Delta),
        B = ConstantB ? B : round(B),
        C = ConstantC ? C : round(C),
        Z = Z is null ? null : round(Z),
    };

    /// <summary>
    /// A scan over parts of the sequences, steps [from, to) of each; sequences keep their slots, and empty parts are left out.
    /// </summary>
    public SelectiveScanInputs Parts(Func<int, (int From, int To)> part)
    {
        PackedParts parts = new(Lengths, part);
        return this with
        {
            Lengths = parts.Lengths,
            Slots = parts.Select(Slots),
            U = parts.Rows(U, Channels),
            Delta = parts.Rows(Delta, Channels),
            B = ConstantB ? B : parts.Rows(B, Groups * StateSize),
            C = ConstantC ? C : parts.Rows(C, Groups * StateSize),
            Z = Z is null ? null : parts.Rows(Z, Channels),
        };
    }

    private static float[] Absolute(float[] values) => [.. values.Select(MathF.Abs)];
}
