namespace MambaCuda.Kernels.Tests;

/// <summary>The causal convolution over its table of cases, on every backend.</summary>
public class CausalConv1dForwardTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.CausalConv1dForward), CausalConv1dCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dInputs inputs = Inputs(backend, name);
        CausalConv1dResult<float> actual = CausalConv1dRunner.Run(backend, inputs, new ConvPlacement());
        Within.AssertAll(CausalConv1dForwardValidation.Compare(inputs, actual, backend.ActivationType));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Does_not_depend_on_where_operands_lie(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dInputs inputs = Inputs(backend, name);
        CausalConv1dResult<float> expected = CausalConv1dRunner.Run(backend, inputs, new ConvPlacement());
        AssertSame(expected, CausalConv1dRunner.Run(backend, inputs, new ConvPlacement { Gap = 0 }), "without gaps");
        ConvPlacement aligned = new() { Gap = GuardedMatrix.AlignedGap };
        AssertSame(expected, CausalConv1dRunner.Run(backend, inputs, aligned), "aligned");
        AssertSame(expected, CausalConv1dRunner.Run(backend, inputs, aligned with { StateInPlace = true }), "aligned, state in place");
        AssertSame(expected, CausalConv1dRunner.Run(backend, inputs, new ConvPlacement { StateInPlace = true }), "state in place");
        CausalConv1dResult<float> stateless = CausalConv1dRunner.Run(backend, inputs, new ConvPlacement { WithoutFinalState = true });
        Bits.AssertSame(expected.Y, stateless.Y, "y without final state");
    }

    [Theory, MemberData(nameof(Cases))]
    public void Two_chunks_are_one(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dInputs inputs = Inputs(backend, name);
        CausalConv1dResult<float> whole = CausalConv1dRunner.Run(backend, inputs, new ConvPlacement());
        (int, int) First(int sequence) => (0, (inputs.Lengths[sequence] + 1) / 2);
        (int, int) Second(int sequence) => ((inputs.Lengths[sequence] + 1) / 2, inputs.Lengths[sequence]);

        CausalConv1dResult<float> first = CausalConv1dRunner.Run(backend, inputs.Parts(First), new ConvPlacement());
        Bits.AssertSame(new PackedParts(inputs.Lengths, First).Rows(whole.Y, inputs.Channels), first.Y, "y of the first chunk");
        if (inputs.Lengths.Max() < 2)
        {
            return;
        }

        CausalConv1dInputs rest = inputs.Parts(Second) with { InitialState = first.FinalState };
        CausalConv1dResult<float> second = CausalConv1dRunner.Run(backend, rest, new ConvPlacement { StateInPlace = true });
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
        CausalConv1dInputs inputs = Inputs(backend, name);
        CausalConv1dResult<float> packed = CausalConv1dRunner.Run(backend, inputs, new ConvPlacement());
        for (int sequence = 0; sequence < inputs.Lengths.Length; sequence++)
        {
            (int, int) Only(int other) => (0, other == sequence ? inputs.Lengths[other] : 0);
            int slot = inputs.Slots[sequence];
            CausalConv1dInputs only = inputs.Parts(Only) with
            {
                Slots = [0],
                InitialState = inputs.InitialState is null ? null : Slot(inputs, inputs.InitialState, slot),
            };
            CausalConv1dResult<float> alone = CausalConv1dRunner.Run(backend, only, new ConvPlacement());
            Bits.AssertSame(new PackedParts(inputs.Lengths, Only).Rows(packed.Y, inputs.Channels), alone.Y, $"y of sequence {sequence}");
            Bits.AssertSame(Slot(inputs, packed.FinalState, slot), alone.FinalState, $"state of sequence {sequence}");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Does_not_depend_on_the_number_of_threads(string backendName, string name)
    {
        Assert.SkipUnless(backendName == "cpu", "Threads are the cpu backend's.");
        CausalConv1dInputs inputs = CausalConv1dCase.Named(name).Inputs();
        using CpuBackend single = new(threads: 1);
        CausalConv1dResult<float> expected = CausalConv1dRunner.Run(single, inputs, new ConvPlacement());
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            AssertSame(expected, CausalConv1dRunner.Run(several, inputs, new ConvPlacement()), $"{threads} threads");
        }
    }

    public static TheoryData<string, int, float> Poisons
    {
        get
        {
            TheoryData<string, int, float> data = [];
            foreach (string backend in TestBackends.Names)
            {
                foreach (int width in new[] { 2, 3, 4 })
                {
                    data.Add(backend, width, float.NaN);
                    data.Add(backend, width, float.PositiveInfinity);
                }
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Poisons))]
    public void Not_a_number_reaches_just_the_tokens_that_see_it(string backendName, int width, float poison)
    {
        const int Channels = 19, Row = 20, Channel = 7;
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dInputs inputs = new CausalConv1dCase(2, 40, Channels, width) { Bias = true, Silu = true }.Inputs();
        inputs.X[(Row * Channels) + Channel] = poison;
        CausalConv1dResult<float> actual = CausalConv1dRunner.Run(backend, inputs, new ConvPlacement());
        for (int i = 0; i < actual.Y.Length; i++)
        {
            bool sees = i % Channels == Channel && i / Channels is >= Row && i / Channels < Row + width;
            Assert.True(sees || float.IsFinite(actual.Y[i]), $"{poison} reached row {i / Channels}, channel {i % Channels}.");
            Assert.True(!sees || !float.IsNaN(poison) || float.IsNaN(actual.Y[i]), $"NaN is lost in row {i / Channels}.");
        }
    }

    private static CausalConv1dInputs Inputs(Backend backend, string name) =>
        CausalConv1dCase.Named(name).Inputs().RoundActivations(values => StoredValues.Round(values, backend.ActivationType));

    private static float[] Slot(CausalConv1dInputs inputs, float[] state, int slot)
    {
        int size = (inputs.Width - 1) * inputs.Channels;
        return state[(slot * size)..((slot + 1) * size)];
    }

    private static void AssertSame(CausalConv1dResult<float> expected, CausalConv1dResult<float> actual, string how)
    {
        Bits.AssertSame(expected.Y, actual.Y, $"y, {how}");
        Bits.AssertSame(expected.FinalState, actual.FinalState, $"final state, {how}");
    }
}
