using System.Numerics;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>The selective scan over its table of cases, on every backend.</summary>
public class SelectiveScanForwardTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(
        nameof(Backend.SelectiveScanForward), SelectiveScanCase.All.Concat(SelectiveScanCase.Complex).Select(row => row.Name));

    public static TheoryData<string, string> GoldenCases => TestBackends.With(nameof(Backend.SelectiveScanForward), Fixtures.ScanCases());

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.SelectiveScanForward))];

    /// <summary>What gets a NaN or an infinity, in each sequence of a packed batch.</summary>
    public static TheoryData<string, string, int> PoisonedOperands
    {
        get
        {
            TheoryData<string, string, int> data = [];
            foreach (string backend in TestBackends.NamesWith(nameof(Backend.SelectiveScanForward)))
            {
                foreach (string operand in new[] { "u", "delta", "z", "B", "C", "initial state" })
                {
                    foreach (int sequence in new[] { 0, 1, 2 })
                    {
                        data.Add(backend, operand, sequence);
                    }
                }
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        Assert.SkipWhen(
            !SelectiveScanCase.Named(name).Fits(backend.ActivationType), "Large results are beyond float16, in a plain evaluation too.");
        SelectiveScanInputs inputs = Inputs(backend, name);
        AssertClose(backend, inputs, SelectiveScanRunner.Run(backend, inputs, new ScanPlacement()));
    }

    [Theory, MemberData(nameof(TestBackends.Rows), MemberType = typeof(TestBackends))]
    public void Long_sequences_of_few_channels_are_as_close(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanInputs inputs = Rounded(backend, SelectiveScanCase.Long.Single(row => row.StateSize == 16).Inputs());
        AssertClose(backend, inputs, SelectiveScanRunner.Run(backend, inputs, new ScanPlacement()));
        AssertClose(backend, inputs, SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { StateInPlace = true, Gap = GuardedMatrix.AlignedGap }));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Does_not_depend_on_where_operands_lie(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanInputs inputs = Inputs(backend, name);
        SelectiveScanResult<float> expected = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        AssertSame(expected, SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { Gap = 0 }), "without gaps");
        AssertSame(expected, SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { Gap = GuardedMatrix.AlignedGap }), "aligned");
        AssertSame(expected, SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { Output = ScanOutput.OverU }), "y over u");
        AssertSame(expected, SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { StateInPlace = true }), "state in place");
        if (inputs.Z is not null)
        {
            AssertSame(expected, SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { Output = ScanOutput.OverZ }), "y over z");
        }

        SelectiveScanResult<float> stateless = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { WithoutFinalState = true });
        Bits.AssertSame(expected.Y, stateless.Y, "y without final state");
    }

    [Theory, MemberData(nameof(Cases))]
    public void Two_chunks_are_one(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanInputs inputs = Inputs(backend, name);
        SelectiveScanResult<float> whole = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        (int, int) First(int sequence) => (0, (inputs.Lengths[sequence] + 1) / 2);
        (int, int) Second(int sequence) => ((inputs.Lengths[sequence] + 1) / 2, inputs.Lengths[sequence]);

        SelectiveScanResult<float> first = SelectiveScanRunner.Run(backend, inputs.Parts(First), new ScanPlacement());
        Bits.AssertSame(new PackedParts(inputs.Lengths, First).Rows(whole.Y, inputs.Channels), first.Y, "y of the first chunk");
        if (inputs.Lengths.Max() < 2)
        {
            return;
        }

        // Sequences of one token have no second chunk; their slots must keep what the first left.
        SelectiveScanInputs rest = inputs.Parts(Second) with { InitialState = first.FinalState };
        SelectiveScanResult<float> second = SelectiveScanRunner.Run(backend, rest, new ScanPlacement { StateInPlace = true });
        Bits.AssertSame(new PackedParts(inputs.Lengths, Second).Rows(whole.Y, inputs.Channels), second.Y, "y of the second chunk");
        foreach (int slot in rest.Slots)
        {
            Bits.AssertSame(Slot(inputs, whole.FinalState, slot), Slot(inputs, second.FinalState, slot), $"state in slot {slot}");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_packed_sequence_is_the_sequence_alone(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanInputs inputs = Inputs(backend, name);
        SelectiveScanResult<float> packed = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        for (int sequence = 0; sequence < inputs.Lengths.Length; sequence++)
        {
            (int, int) Only(int other) => (0, other == sequence ? inputs.Lengths[other] : 0);
            int slot = inputs.Slots[sequence];
            SelectiveScanInputs only = inputs.Parts(Only) with
            {
                Slots = [0],
                InitialState = inputs.InitialState is null ? null : Slot(inputs, inputs.InitialState, slot),
            };
            SelectiveScanResult<float> alone = SelectiveScanRunner.Run(backend, only, new ScanPlacement());
            Bits.AssertSame(new PackedParts(inputs.Lengths, Only).Rows(packed.Y, inputs.Channels), alone.Y, $"y of sequence {sequence}");
            Bits.AssertSame(Slot(inputs, packed.FinalState, slot), alone.FinalState, $"state of sequence {sequence}");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Does_not_depend_on_the_number_of_threads(string backendName, string name)
    {
        Assert.SkipUnless(backendName == "cpu", "Threads are the cpu backend's.");
        SelectiveScanInputs inputs = SelectiveScanCase.Named(name).Inputs();
        using CpuBackend single = new(threads: 1);
        SelectiveScanResult<float> expected = SelectiveScanRunner.Run(single, inputs, new ScanPlacement());
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            AssertSame(expected, SelectiveScanRunner.Run(several, inputs, new ScanPlacement()), $"{threads} threads");
        }
    }

    [Theory, MemberData(nameof(GoldenCases))]
    public void Agrees_with_golden_data(string backendName, string name)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        using Backend backend = TestBackends.Open(backendName);
        GoldenScan golden = new(Fixtures.PathOf(name));
        double bound = backend.ActivationType == DataType.Float32 ? 2e-5 : 1e-2;
        SelectiveScanResult<float> actual = SelectiveScanRunner.Run(backend, Rounded(backend, golden.Inputs), new ScanPlacement());
        double y = Deviation.RelativeNorm(actual.Y, golden.Y);
        double state = Deviation.RelativeNorm(golden.OfLastState(actual.FinalState), golden.LastState);
        Assert.True(y <= bound, $"y deviates by {y:E2}.");
        Assert.True(state <= bound, $"The last state deviates by {state:E2}.");
    }

    /// <summary>
    /// The official selective_scan_ref by complex numbers: two states of one channel, real and imaginary parts where they belong, no
    /// conjugation, and twice the real part.
    /// </summary>
    [Theory, MemberData(nameof(Backends))]
    public void Complex_numbers_lie_and_count_as_the_official_scan_s(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanInputs inputs = new()
        {
            Lengths = [2],
            Slots = [0],
            Channels = 1,
            StateSize = 2,
            U = [1.5f, -2],
            Delta = [0.5f, 0.25f],
            A = [-1, -0.5f],
            AImaginary = [3, -2],
            B = [1, 2, -1, 0.5f, 0.25f, -3, 2, 1],
            C = [2, -1, 0.5f, 1, -0.5f, 4, 1, -2],
            InitialState = [1, -1, 0.5f, 2],
        };
        Complex[] a = [new(-1, 3), new(-0.5, -2)];
        Complex[] h = [new(1, -1), new(0.5, 2)];
        Complex[][] b = [[new(1, 2), new(-1, 0.5)], [new(0.25, -3), new(2, 1)]];
        Complex[][] c = [[new(2, -1), new(0.5, 1)], [new(-0.5, 4), new(1, -2)]];
        double[] y = new double[2];
        for (int t = 0; t < 2; t++)
        {
            for (int n = 0; n < 2; n++)
            {
                h[n] = (Complex.Exp(inputs.Delta[t] * a[n]) * h[n]) + (inputs.Delta[t] * inputs.U[t] * b[t][n]);
                y[t] += 2 * (c[t][n] * h[n]).Real;
            }
        }

        SelectiveScanResult<float> actual = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        double bound = 4 * StoredValues.UnitRoundoff(backend.ActivationType);
        Assert.True(Deviation.RelativeNorm(actual.Y, [.. y.Select(value => (float)value)]) <= bound, $"y is {string.Join(", ", actual.Y)}.");
        float[] state = [.. h.SelectMany(value => new[] { (float)value.Real, (float)value.Imaginary })];
        Assert.True(Deviation.RelativeNorm(actual.FinalState, state) <= 1e-6, $"The state is {string.Join(", ", actual.FinalState)}.");
    }

    /// <summary>With a step of exactly 1 the phase is A's imaginary part to the last bit, and so is known, however large.</summary>
    [Theory, MemberData(nameof(Backends))]
    public void Phases_of_many_turns_are_taken_off_exactly(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        const int StateSize = 40, Channels = 21;
        float[] powers = new RandomValues("phases").Uniform(StateSize * Channels, 0, 30);
        float[] phases = [.. powers.Select((power, i) => (i % 2 == 0 ? 1 : -1) * MathF.Pow(2, power))];
        SelectiveScanInputs inputs = new SelectiveScanCase(1, 1, Channels, StateSize) { IsComplex = true, InitialState = true }.Inputs() with
        {
            DeltaSoftplus = false,
            DeltaBias = null,
            Delta = [.. Enumerable.Repeat(1f, Channels)],
            U = new float[Channels],
            A = [.. Enumerable.Repeat(-0.25f, StateSize * Channels)],
            AImaginary = phases,
        };
        float[] actual = SelectiveScanRunner.Run(backend, Rounded(backend, inputs), new ScanPlacement()).FinalState;
        double[] expected = SelectiveScanOracle.Run<double>(inputs).FinalState;
        for (int i = 0; i < actual.Length; i++)
        {
            int real = i - (i / Channels % 2 * Channels);
            double size = double.Hypot(expected[real], expected[real + Channels]);
            double error = Math.Abs(actual[i] - expected[i]) / size;
            Assert.True(error <= 1e-6, $"Phase {phases[(i / Channels / 2 * Channels) + (i % Channels)]}: off by {error:E1} of the state.");
        }
    }

    [Theory, MemberData(nameof(PoisonedOperands))]
    public void Not_a_number_stays_in_its_channel_and_sequence(string backendName, string operand, int sequence)
    {
        using Backend backend = TestBackends.Open(backendName);
        foreach (float poison in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
        {
            AssertContained(backend, operand, sequence, poison);
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_state_that_overflows_does_not_touch_its_neighbours(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanInputs inputs = Rounded(backend, new SelectiveScanCase(2, 40, 19, 4).Inputs());
        SelectiveScanResult<float> expected = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        float[] a = [.. inputs.A];
        a[5] = 1000;
        SelectiveScanResult<float> actual = SelectiveScanRunner.Run(backend, inputs with { A = a }, new ScanPlacement());
        for (int i = 0; i < actual.Y.Length; i++)
        {
            Assert.True(i % 19 == 5 || actual.Y[i] == expected.Y[i], $"Element {i} of y changed.");
        }

        Assert.False(float.IsFinite(actual.Y[(39 * 19) + 5]));
    }

    private static void AssertContained(Backend backend, string operand, int sequence, float poison)
    {
        const int Channels = 21, StateSize = 5, Groups = 3, Length = 40, PoisonedStep = 17, PoisonedChannel = 9;
        SelectiveScanCase row = new(3, Length, Channels, StateSize) { Groups = Groups, InitialState = true, Packed = true };
        SelectiveScanInputs inputs = Rounded(backend, row.Inputs());
        SelectiveScanResult<float> clean = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        int firstRow = inputs.Lengths.Take(sequence).Sum();
        int step = Math.Min(PoisonedStep, inputs.Lengths[sequence] - 1);
        int slot = inputs.Slots[sequence];
        int group = PoisonedChannel / (Channels / Groups);

        float[] Poison(float[] values, int index)
        {
            float[] copy = [.. values];
            copy[index] = poison;
            return copy;
        }

        int inRow = ((firstRow + step) * Channels) + PoisonedChannel;
        int inGroup = ((firstRow + step) * Groups * StateSize) + (group * StateSize) + 2;
        SelectiveScanInputs poisoned = operand switch
        {
            "u" => inputs with { U = Poison(inputs.U, inRow) },
            "delta" => inputs with { Delta = Poison(inputs.Delta, inRow) },
            "z" => inputs with { Z = Poison(inputs.Z!, inRow) },
            "B" => inputs with { B = Poison(inputs.B, inGroup) },
            "C" => inputs with { C = Poison(inputs.C, inGroup) },
            _ => inputs with { InitialState = Poison(inputs.InitialState!, (((slot * StateSize) + 2) * Channels) + PoisonedChannel) },
        };
        int firstStep = operand == "initial state" ? 0 : step;
        bool IsReached(int channel) => operand is "B" or "C" ? channel / (Channels / Groups) == group : channel == PoisonedChannel;
        SelectiveScanResult<float> actual = SelectiveScanRunner.Run(backend, poisoned, new ScanPlacement());
        for (int i = 0; i < actual.Y.Length; i++)
        {
            int token = i / Channels;
            bool mayChange = token >= firstRow + firstStep && token < firstRow + inputs.Lengths[sequence] && IsReached(i % Channels)
                && (operand is not ("z" or "C") || token == firstRow + step);
            Assert.True(mayChange || actual.Y[i] == clean.Y[i], $"{poison} in {operand} reached token {token}, channel {i % Channels}.");
        }

        for (int i = 0; i < actual.FinalState.Length; i++)
        {
            bool mayChange = i / Channels / StateSize == slot && IsReached(i % Channels) && operand is not ("z" or "C");
            Assert.True(mayChange || actual.FinalState[i] == clean.FinalState[i], $"{poison} in {operand} reached state element {i}.");
        }

        // And it is not lost: the step that reads it shows it. Minus infinity in delta or z is a plain zero there or NaN, as the formulas
        // have it.
        float seen = actual.Y[((firstRow + firstStep) * Channels) + PoisonedChannel];
        if (float.IsNaN(poison) || operand is not ("delta" or "z"))
        {
            Assert.False(float.IsFinite(seen), $"{poison} in {operand} gave {seen}.");
        }
    }

    private static SelectiveScanInputs Inputs(Backend backend, string name) => Rounded(backend, SelectiveScanCase.Named(name).Inputs());

    private static SelectiveScanInputs Rounded(Backend backend, SelectiveScanInputs inputs) =>
        inputs.RoundActivations(values => StoredValues.Round(values, backend.ActivationType));

    private static float[] Slot(SelectiveScanInputs inputs, float[] state, int slot)
    {
        int size = inputs.StateRows * inputs.Channels;
        return state[(slot * size)..((slot + 1) * size)];
    }

    private static void AssertSame(SelectiveScanResult<float> expected, SelectiveScanResult<float> actual, string how)
    {
        Bits.AssertSame(expected.Y, actual.Y, $"y, {how}");
        Bits.AssertSame(expected.FinalState, actual.FinalState, $"final state, {how}");
    }

    private static void AssertClose(Backend backend, SelectiveScanInputs inputs, SelectiveScanResult<float> actual) =>
        Within.AssertAll(SelectiveScanForwardValidation.Compare(inputs, actual, backend.ActivationType));
}
