namespace MambaCuda.Kernels.Tests;

/// <summary>The gradients of the causal convolution over its table of cases, on every backend that trains.</summary>
public class CausalConv1dBackwardTests
{
    private const string Operation = nameof(Backend.CausalConv1dBackward);

    public static TheoryData<string, string> Cases => TestBackends.With(Operation, CausalConv1dCase.Names);

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(Operation)];

    public static TheoryData<string, int, float> Poisons
    {
        get
        {
            TheoryData<string, int, float> data = [];
            foreach (string backend in TestBackends.NamesWith(Operation))
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

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (CausalConv1dInputs inputs, CausalConv1dUpstream upstream) = Operands(backend, name);
        CausalConv1dBackwardResult<float> actual = Run(backend, inputs, upstream, new ConvBackwardPlacement());
        Within.AssertAll(CausalConv1dBackwardValidation.Compare(inputs, upstream, actual, backend.ActivationType));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Does_not_depend_on_where_operands_lie(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (CausalConv1dInputs inputs, CausalConv1dUpstream upstream) = Operands(backend, name);
        CausalConv1dBackwardResult<float> expected = Run(backend, inputs, upstream, new ConvBackwardPlacement());
        void Same(ConvBackwardPlacement placement, string how) => AssertSame(expected, Run(backend, inputs, upstream, placement), how);
        Same(new ConvBackwardPlacement { Gap = 0 }, "without gaps");
        Same(new ConvBackwardPlacement { Gap = GuardedMatrix.AlignedGap }, "aligned");
        Same(new ConvBackwardPlacement { Gap = GuardedMatrix.AlignedGap, StateInPlace = true }, "aligned, state in place");
        Same(new ConvBackwardPlacement { StateInPlace = true }, "state in place");
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_gradient_left_out_leaves_the_others_as_they_are(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (CausalConv1dInputs inputs, CausalConv1dUpstream upstream) = Operands(backend, name);
        CausalConv1dBackwardResult<float> expected = Run(backend, inputs, upstream, new ConvBackwardPlacement());
        foreach (ConvGradients one in Enum.GetValues<ConvGradients>())
        {
            ConvBackwardPlacement without = new() { Asked = ConvGradients.All & ~one };
            AssertSame(expected, Run(backend, inputs, upstream, without), $"without the gradient of {one}");
            AssertSame(expected, Run(backend, inputs, upstream, without with { Asked = one }), $"the gradient of {one} alone");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Gradients_of_parameters_are_added(string backendName, string name)
    {
        const float Before = 0.75f;
        using Backend backend = TestBackends.Open(backendName);
        (CausalConv1dInputs inputs, CausalConv1dUpstream upstream) = Operands(backend, name);
        CausalConv1dBackwardResult<float> alone = Run(backend, inputs, upstream, new ConvBackwardPlacement());
        CausalConv1dBackwardResult<float> added = Run(backend, inputs, upstream, new ConvBackwardPlacement { Before = Before });
        float[]? Plus(float[]? gradient) => gradient?.Select(value => Before + value).ToArray();
        AssertSame(alone with { GradWeight = Plus(alone.GradWeight), GradBias = Plus(alone.GradBias) }, added, "added to what was there");
    }

    [Theory, MemberData(nameof(Cases))]
    public void No_gradient_of_the_final_state_is_a_gradient_of_zero(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (CausalConv1dInputs inputs, CausalConv1dUpstream upstream) = Operands(backend, name);
        CausalConv1dUpstream zeros = upstream with { GradFinalState = new float[upstream.GradFinalState!.Length] };
        AssertSame(
            Run(backend, inputs, zeros, new ConvBackwardPlacement()),
            Run(backend, inputs, upstream with { GradFinalState = null }, new ConvBackwardPlacement()),
            "without a gradient of the final state");
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_packed_sequence_is_the_sequence_alone(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (CausalConv1dInputs inputs, CausalConv1dUpstream upstream) = Operands(backend, name);
        CausalConv1dBackwardResult<float> packed = Run(backend, inputs, upstream, new ConvBackwardPlacement());
        for (int sequence = 0; sequence < inputs.Lengths.Length; sequence++)
        {
            (int, int) Only(int other) => (0, other == sequence ? inputs.Lengths[other] : 0);
            PackedParts parts = new(inputs.Lengths, Only);
            int slot = inputs.Slots[sequence];
            CausalConv1dInputs only = inputs.Parts(Only) with
            {
                Slots = [0],
                InitialState = inputs.InitialState is null ? null : Slot(inputs, inputs.InitialState, slot),
            };
            CausalConv1dUpstream onlyUpstream =
                new(parts.Rows(upstream.GradY, inputs.Channels), Slot(inputs, upstream.GradFinalState!, slot))
                {
                    MoreGradY = upstream.MoreGradY is null ? null : parts.Rows(upstream.MoreGradY, inputs.Channels),
                };
            CausalConv1dBackwardResult<float> expected =
                new(parts.Rows(packed.GradX!, inputs.Channels), null, null, Slot(inputs, packed.GradInitialState!, slot));
            AssertSame(expected, Run(backend, only, onlyUpstream, new ConvBackwardPlacement()), $"sequence {sequence} alone");
        }
    }

    public static TheoryData<string> CaseNames => [.. CausalConv1dCase.Names];

    [Theory, MemberData(nameof(CaseNames))]
    public void Does_not_depend_on_the_number_of_threads(string name)
    {
        using CpuBackend single = new(threads: 1);
        (CausalConv1dInputs inputs, CausalConv1dUpstream upstream) = Operands(single, name);
        CausalConv1dBackwardResult<float> expected = Run(single, inputs, upstream, new ConvBackwardPlacement());
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            AssertSame(expected, Run(several, inputs, upstream, new ConvBackwardPlacement()), $"{threads} threads");
        }
    }

    /// <summary>More sequences than there are shards, so that a shard has several.</summary>
    [Theory, MemberData(nameof(Backends))]
    public void Many_sequences_are_as_close_and_repeat(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dCase row = new(19, 70, 70, 4) { Bias = true, Silu = true, InitialState = true, Packed = true };
        CausalConv1dInputs inputs = Rounded(backend, row.Inputs());
        CausalConv1dUpstream upstream = Rounded(backend, row.Upstream());
        CausalConv1dBackwardResult<float> first = Run(backend, inputs, upstream, new ConvBackwardPlacement());
        Within.AssertAll(CausalConv1dBackwardValidation.Compare(inputs, upstream, first, backend.ActivationType));
        AssertSame(first, Run(backend, inputs, upstream, new ConvBackwardPlacement()), "again");
    }

    /// <summary>Back-propagation through time, one piece shorter than the history.</summary>
    [Theory, MemberData(nameof(Backends))]
    public void Segments_with_the_gradient_of_the_state_handed_back_are_the_whole(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dCase row = new(2, 300, 45, 4) { Bias = true, Silu = true, InitialState = true };
        CausalConv1dInputs inputs = Rounded(backend, row.Inputs());
        CausalConv1dUpstream upstream = Rounded(backend, row.Upstream());
        CausalConv1dBackwardResult<float> whole = Run(backend, inputs, upstream, new ConvBackwardPlacement());

        (int From, int To)[] segments = [(0, 77), (77, 160), (160, 161), (161, 163), (163, 300)];
        CausalConv1dInputs[] pieces = new CausalConv1dInputs[segments.Length];
        float[] state = inputs.InitialState!;
        for (int i = 0; i < segments.Length; i++)
        {
            pieces[i] = inputs.Parts(_ => segments[i]) with { InitialState = state };
            state = CausalConv1dRunner.Run(backend, pieces[i], new ConvPlacement()).FinalState;
        }

        float[] gradState = upstream.GradFinalState!;
        float[] weight = new float[whole.GradWeight!.Length], bias = new float[whole.GradBias!.Length];
        double bound = backend.ActivationType == DataType.Float32 ? 1e-5 : 1e-2;
        for (int i = segments.Length - 1; i >= 0; i--)
        {
            PackedParts parts = new(inputs.Lengths, _ => segments[i]);
            CausalConv1dUpstream of = new(parts.Rows(upstream.GradY, inputs.Channels), gradState);
            CausalConv1dBackwardResult<float> piece = Run(backend, pieces[i], of, new ConvBackwardPlacement { StateInPlace = true });
            gradState = piece.GradInitialState!;
            GradientAssert.Near(parts.Rows(whole.GradX!, inputs.Channels), piece.GradX!, bound, $"x in segment {i}");
            weight = [.. weight.Zip(piece.GradWeight!, (a, b) => a + b)];
            bias = [.. bias.Zip(piece.GradBias!, (a, b) => a + b)];
        }

        GradientAssert.Near(whole.GradInitialState!, gradState, bound, "the initial state");
        GradientAssert.Near(whole.GradWeight!, weight, bound, "the weight");
        GradientAssert.Near(whole.GradBias!, bias, bound, "the bias");
    }

    [Theory, MemberData(nameof(Poisons))]
    public void Not_a_number_reaches_just_the_gradients_that_see_it(string backendName, int width, float poison)
    {
        const int Channels = 19, Row = 20, Channel = 7, Length = 40;
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dCase row = new(2, Length, Channels, width) { Bias = true, Silu = true, InitialState = true };
        CausalConv1dInputs inputs = Rounded(backend, row.Inputs());
        CausalConv1dUpstream upstream = Rounded(backend, row.Upstream());

        // An input reaches the outputs of width tokens, and each of those the gradients of width inputs.
        float[] x = [.. inputs.X];
        x[(Row * Channels) + Channel] = poison;
        AssertContained(backend, inputs with { X = x }, upstream, Row - width + 1, Row + width - 1, Channel);

        float[] gradY = [.. upstream.GradY];
        gradY[(Row * Channels) + Channel] = poison;
        AssertContained(backend, inputs, upstream with { GradY = gradY }, Row - width + 1, Row, Channel);
        AssertContained(backend, inputs, upstream with { MoreGradY = gradY }, Row - width + 1, Row, Channel);

        // The last inputs of the first sequence are its final state.
        float[] gradState = [.. upstream.GradFinalState!];
        gradState[Channel] = poison;
        AssertContained(
            backend, inputs, upstream with { GradFinalState = gradState }, Length - width + 1, Length - width + 1, Channel);
    }

    private static void AssertContained(
        Backend backend, CausalConv1dInputs inputs, CausalConv1dUpstream upstream, int firstRow, int lastRow, int channel)
    {
        CausalConv1dBackwardResult<float> actual = Run(backend, inputs, upstream, new ConvBackwardPlacement());
        CausalConv1dBackwardResult<double> exact = CausalConv1dBackwardOracle.Run<double>(inputs, upstream);
        for (int i = 0; i < actual.GradX!.Length; i++)
        {
            int row = i / inputs.Channels;
            bool sees = i % inputs.Channels == channel && row >= firstRow && row <= lastRow;
            Assert.True(sees || float.IsFinite(actual.GradX[i]), $"Row {row}, channel {i % inputs.Channels} was reached.");
        }

        GradientAssert.SameNaN(Pairs(exact, actual));
    }

    private static CausalConv1dBackwardResult<float> Run(
        Backend backend, CausalConv1dInputs inputs, CausalConv1dUpstream upstream, ConvBackwardPlacement placement) =>
        CausalConv1dBackwardRunner.Run(backend, inputs, upstream, placement);

    private static (CausalConv1dInputs Inputs, CausalConv1dUpstream Upstream) Operands(Backend backend, string name) =>
        (Rounded(backend, CausalConv1dCase.Named(name).Inputs()), Rounded(backend, CausalConv1dCase.Named(name).Upstream()));

    private static CausalConv1dInputs Rounded(Backend backend, CausalConv1dInputs inputs) =>
        inputs.RoundActivations(values => StoredValues.Round(values, backend.ActivationType));

    private static CausalConv1dUpstream Rounded(Backend backend, CausalConv1dUpstream upstream) =>
        upstream.RoundActivations(values => StoredValues.Round(values, backend.ActivationType));

    private static float[] Slot(CausalConv1dInputs inputs, float[] state, int slot)
    {
        int size = (inputs.Width - 1) * inputs.Channels;
        return state[(slot * size)..((slot + 1) * size)];
    }

    /// <summary>Fails where bits differ of what both have.</summary>
    private static void AssertSame(CausalConv1dBackwardResult<float> expected, CausalConv1dBackwardResult<float> actual, string how) =>
        GradientAssert.Same(Pairs(expected, actual), how);

    private static IEnumerable<(string Operand, TFirst[]? First, TSecond[]? Second)> Pairs<TFirst, TSecond>(
        CausalConv1dBackwardResult<TFirst> first, CausalConv1dBackwardResult<TSecond> second) =>
    [
        ("x", first.GradX, second.GradX), ("the weight", first.GradWeight, second.GradWeight),
        ("the bias", first.GradBias, second.GradBias), ("the initial state", first.GradInitialState, second.GradInitialState),
    ];
}
