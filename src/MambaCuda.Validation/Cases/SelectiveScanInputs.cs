namespace MambaCuda.Validation;

/// <summary>
/// The operands of a selective scan as plain arrays, tokens before channels: u, delta, z, y (tokens, channels); A (state size, channels);
/// B, C (tokens, groups * state size), or (state size, channels) where constant; states (slots * state size, channels). Where A is complex,
/// its imaginary part is an array of its own, and each number of B, C and states is two: real and imaginary part, side by side in a token's
/// row, and in rows one after the other where rows are states.
/// </summary>
public sealed record SelectiveScanInputs
{
    /// <summary>The length of each sequence.</summary>
    public required int[] Lengths { get; init; }

    /// <summary>The state slot of each sequence.</summary>
    public required int[] Slots { get; init; }

    /// <summary>The number of channels.</summary>
    public required int Channels { get; init; }

    /// <summary>The state size.</summary>
    public required int StateSize { get; init; }

    /// <summary>Groups of channels that share B and C.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>The input.</summary>
    public required float[] U { get; init; }

    /// <summary>The step size before bias and softplus.</summary>
    public required float[] Delta { get; init; }

    /// <summary>The diagonal of A.</summary>
    public required float[] A { get; init; }

    /// <summary>The imaginary part of A, or null where A is real.</summary>
    public float[]? AImaginary { get; init; }

    /// <summary>B.</summary>
    public required float[] B { get; init; }

    /// <summary>C.</summary>
    public required float[] C { get; init; }

    /// <summary>The skip connection, or null.</summary>
    public float[]? D { get; init; }

    /// <summary>The gate, or null.</summary>
    public float[]? Z { get; init; }

    /// <summary>What is added to delta, or null.</summary>
    public float[]? DeltaBias { get; init; }

    /// <summary>The state before each sequence, or null.</summary>
    public float[]? InitialState { get; init; }

    /// <summary>Whether delta runs through softplus.</summary>
    public bool DeltaSoftplus { get; init; }

    /// <summary>Whether B does not depend on the input.</summary>
    public bool ConstantB { get; init; }

    /// <summary>Whether C does not depend on the input.</summary>
    public bool ConstantC { get; init; }

    /// <summary>Whether A is complex.</summary>
    public bool IsComplex => AImaginary is not null;

    /// <summary>Rows of a slot of states: one a state, or two where they are complex.</summary>
    public int StateRows => IsComplex ? 2 * StateSize : StateSize;

    /// <summary>The tokens of all sequences.</summary>
    public int Tokens => Lengths.Sum();

    /// <summary>One more than the highest slot.</summary>
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

    /// <summary>The same with all channels side by side so many times. They must be of one group, and B and C of the input.</summary>
    public SelectiveScanInputs Repeat(int copies)
    {
        if (copies == 1)
        {
            return this;
        }

        if (Groups > 1 || ConstantB || ConstantC)
        {
            throw new ArgumentException("Copies of channels share one B and one C of the input.", nameof(copies));
        }

        float[] Wide(float[] rows) => [.. rows.Chunk(Channels).SelectMany(row => Enumerable.Repeat(row, copies)).SelectMany(row => row)];
        return this with
        {
            Channels = Channels * copies,
            U = Wide(U),
            Delta = Wide(Delta),
            A = Wide(A),
            D = D is null ? null : Wide(D),
            Z = Z is null ? null : Wide(Z),
            DeltaBias = DeltaBias is null ? null : Wide(DeltaBias),
            InitialState = InitialState is null ? null : Wide(InitialState),
        };
    }

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
            B = ConstantB ? B : parts.Rows(B, Groups * StateRows),
            C = ConstantC ? C : parts.Rows(C, Groups * StateRows),
            Z = Z is null ? null : parts.Rows(Z, Channels),
        };
    }

    private static float[] Absolute(float[] values) => [.. values.Select(MathF.Abs)];
}
