using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>The gradients of the selective scan over its table of cases, on every backend that trains.</summary>
public class SelectiveScanBackwardTests
{
    private const string Operation = nameof(Backend.SelectiveScanBackward);

    private const long MostRepeatedStates = 1 << 18;

    public static TheoryData<string, string> Cases => TestBackends.With(Operation, SelectiveScanCase.Names);

    /// <summary>For what runs a case many times, and has nothing to do with the type of activations: large cases of one of CUDA's alone.</summary>
    public static TheoryData<string, string> RepeatedCases =>
    [
        .. from row in Cases
           let scan = SelectiveScanCase.Named(row.Data.Item2)
           let states = (long)scan.Batch * scan.Length * scan.Channels * scan.StateSize
           where states <= MostRepeatedStates || row.Data.Item1 is not ("cuda-float16" or "cuda-bfloat16")
           select row,
    ];

    /// <summary>For the kernels of tiles that have blocks of several sizes.</summary>
    public static TheoryData<string, string> CasesOfSeveralBlocks => TestBackends.With(
        Operation,
        SelectiveScanCase.All.Where(row => row.StateSize is 16 or 64 && !row.ConstantB && !row.ConstantC).Select(row => row.Name));

    public static TheoryData<string, string> GoldenCases => TestBackends.With(Operation, Fixtures.ScanCases());

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(Operation)];

    /// <summary>What gets a NaN, in each sequence of a packed batch.</summary>
    public static TheoryData<string, string, int> PoisonedOperands
    {
        get
        {
            TheoryData<string, string, int> data = [];
            foreach (string backend in TestBackends.NamesWith(Operation))
            {
                foreach (string operand in new[] { "u", "delta", "z", "B", "C", "initial state", "grad y", "grad final state" })
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
        Assert.SkipUnless(
            SelectiveScanCase.Named(name).Fits(backend.ActivationType), "Large results are beyond float16, in a plain evaluation too.");
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(backend, name);
        SelectiveScanBackwardResult<float> actual = Run(backend, inputs, upstream, new ScanBackwardPlacement());
        Within.AssertAll(SelectiveScanBackwardValidation.Compare(inputs, upstream, actual, backend.ActivationType));
    }

    /// <summary>Where nothing may depend on what else is in the batch, the card takes its largest blocks, which are else for many channels.</summary>
    [Theory, MemberData(nameof(CasesOfSeveralBlocks))]
    public void The_largest_blocks_are_as_close(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName, batchInvariant: true);
        Assert.SkipUnless(
            SelectiveScanCase.Named(name).Fits(backend.ActivationType), "Large results are beyond float16, in a plain evaluation too.");
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(backend, name);
        SelectiveScanBackwardResult<float> actual = Run(backend, inputs, upstream, new ScanBackwardPlacement());
        Within.AssertAll(SelectiveScanBackwardValidation.Compare(inputs, upstream, actual, backend.ActivationType));
        AssertSame(actual, Run(backend, inputs, upstream, new ScanBackwardPlacement { Gap = GuardedMatrix.AlignedGap }), "aligned");
    }

    [Theory, MemberData(nameof(RepeatedCases))]
    public void Does_not_depend_on_where_operands_lie(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(backend, name);
        SelectiveScanBackwardResult<float> expected = Run(backend, inputs, upstream, new ScanBackwardPlacement());
        void Same(ScanBackwardPlacement placement, string how) =>
            AssertSame(expected, Run(backend, inputs, upstream, placement), how);
        Same(new ScanBackwardPlacement { Gap = 0 }, "without gaps");
        Same(new ScanBackwardPlacement { Gap = GuardedMatrix.AlignedGap }, "aligned");
        Same(new ScanBackwardPlacement { GradUOverGradY = true }, "gradient of u over that of y");
        Same(new ScanBackwardPlacement { StateInPlace = true }, "gradient of the state in place");
        foreach (int gap in new[] { GuardedMatrix.UsualGap, 0, GuardedMatrix.AlignedGap })
        {
            Same(new ScanBackwardPlacement { Gap = gap, GradDeltaOverDelta = true }, $"gradient of delta over it, gap {gap}");
        }

        Same(new ScanBackwardPlacement { GradUOverGradY = true, GradDeltaOverDelta = true }, "both over what was read");
    }

    [Theory, InlineData("cuda-float32"), InlineData("cuda-bfloat16"), InlineData("cuda-float16")]
    public void In_chunks_too_gradients_may_lie_over_what_was_read(string backendName)
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open(backendName);
        SelectiveScanCase row = SelectiveScanCase.Long.Single(row => row.StateSize == 16);
        SelectiveScanInputs inputs = Rounded(backend, row.Inputs());
        SelectiveScanUpstream upstream = Rounded(backend, row.Upstream());
        List<KernelLaunch> launches = [];
        backend.OnLaunch = launches.Add;
        ScanBackwardPlacement apart = new() { Gap = GuardedMatrix.AlignedGap };
        SelectiveScanBackwardResult<float> expected = Run(backend, inputs, upstream, apart);
        Assert.Contains(launches, launch => launch.ToString().StartsWith("chunk gradients", StringComparison.Ordinal));
        ScanBackwardPlacement over = apart with { GradDeltaOverDelta = true, GradUOverGradY = true };
        AssertSame(expected, Run(backend, inputs, upstream, over), "over what was read");
    }

    [Theory, MemberData(nameof(RepeatedCases))]
    public void A_gradient_left_out_leaves_the_others_as_they_are(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(backend, name);
        SelectiveScanBackwardResult<float> expected = Run(backend, inputs, upstream, new ScanBackwardPlacement());
        foreach (ScanGradients one in Enum.GetValues<ScanGradients>().Where(one => one is not (ScanGradients.None or ScanGradients.All)))
        {
            ScanBackwardPlacement without = new() { Asked = ScanGradients.All & ~one, WithoutY = true };
            AssertSame(expected, Run(backend, inputs, upstream, without), $"without the gradient of {one}");
            AssertSame(expected, Run(backend, inputs, upstream, without with { Asked = one }), $"the gradient of {one} alone");
        }

        AssertSame(expected, Run(backend, inputs, upstream, new ScanBackwardPlacement { Asked = ScanGradients.None }), "y alone");
    }

    [Theory, MemberData(nameof(Cases))]
    public void Gradients_of_parameters_are_added(string backendName, string name)
    {
        const float Before = 0.75f;
        using Backend backend = TestBackends.Open(backendName);
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(backend, name);
        SelectiveScanBackwardResult<float> alone = Run(backend, inputs, upstream, new ScanBackwardPlacement());
        SelectiveScanBackwardResult<float> added = Run(backend, inputs, upstream, new ScanBackwardPlacement { Before = Before });
        float[]? Plus(float[]? gradient) => gradient?.Select(value => Before + value).ToArray();
        SelectiveScanBackwardResult<float> expected = alone with
        {
            GradA = Plus(alone.GradA),
            GradB = inputs.ConstantB ? Plus(alone.GradB) : alone.GradB,
            GradC = inputs.ConstantC ? Plus(alone.GradC) : alone.GradC,
            GradD = Plus(alone.GradD),
            GradDeltaBias = Plus(alone.GradDeltaBias),
        };
        AssertSame(expected, added, "added to what was there");
    }

    [Theory, MemberData(nameof(Cases))]
    public void No_gradient_of_the_final_state_is_a_gradient_of_zero(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(backend, name);
        SelectiveScanUpstream zeros = upstream with { GradFinalState = new float[upstream.GradFinalState!.Length] };
        AssertSame(
            Run(backend, inputs, zeros, new ScanBackwardPlacement()),
            Run(backend, inputs, upstream with { GradFinalState = null }, new ScanBackwardPlacement()),
            "without a gradient of the final state");
    }

    /// <summary>
    /// On the CPU to the last bit. The kernel may add up the states of a channel in another order than that of the forward pass, which is cut
    /// for its own shape; it is then held to the forward pass's bound.
    /// </summary>
    [Theory, MemberData(nameof(Cases))]
    public void Y_is_that_of_the_forward_pass(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(backend, name);
        SelectiveScanResult<float> forward = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        float[] y = Run(backend, inputs, upstream, new ScanBackwardPlacement()).Y!;
        if (backend is CpuBackend)
        {
            Bits.AssertSame(forward.Y, y, "y");
        }
        else if (SelectiveScanCase.Named(name).Fits(backend.ActivationType))
        {
            Within.AssertAll(SelectiveScanForwardValidation.Compare(inputs, forward with { Y = y }, backend.ActivationType));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Checkpoints_are_the_states_that_the_tokens_before_leave(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanInputs inputs = Operands(backend, name).Inputs;
        float[] checkpoints = SelectiveScanBackwardRunner.Checkpoints(backend, inputs);
        int size = inputs.StateSize * inputs.Channels, checkpoint = 0;
        float[] nothing = inputs.InitialState ?? new float[inputs.SlotCount * size];
        for (int sequence = 0; sequence < inputs.Lengths.Length; sequence++)
        {
            for (int before = 0; before < inputs.Lengths[sequence]; before += backend.ScanCheckpointSteps, checkpoint++)
            {
                SelectiveScanInputs prefix = inputs.Parts(other => (0, other == sequence ? before : 0));
                float[] states = before == 0 ? nothing : SelectiveScanRunner.Run(backend, prefix, new ScanPlacement()).FinalState;
                Bits.AssertSame(
                    Slot(inputs, states, inputs.Slots[sequence]),
                    checkpoints[(checkpoint * size)..((checkpoint + 1) * size)],
                    $"the state of sequence {sequence} after {before} tokens");
            }
        }

        Assert.Equal(checkpoints.Length, checkpoint * size);
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_packed_sequence_is_the_sequence_alone(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(backend, name);
        SelectiveScanBackwardResult<float> packed = Run(backend, inputs, upstream, new ScanBackwardPlacement());
        for (int sequence = 0; sequence < inputs.Lengths.Length; sequence++)
        {
            (int, int) Only(int other) => (0, other == sequence ? inputs.Lengths[other] : 0);
            PackedParts parts = new(inputs.Lengths, Only);
            int slot = inputs.Slots[sequence];
            float[] PerChannel(float[]? values) => parts.Rows(values!, inputs.Channels);
            float[] PerState(float[]? values) => parts.Rows(values!, inputs.Groups * inputs.StateSize);
            SelectiveScanInputs only = inputs.Parts(Only) with
            {
                Slots = [0],
                InitialState = inputs.InitialState is null ? null : Slot(inputs, inputs.InitialState, slot),
            };
            SelectiveScanUpstream onlyUpstream = new(PerChannel(upstream.GradY), Slot(inputs, upstream.GradFinalState!, slot));
            SelectiveScanBackwardResult<float> alone = Run(backend, only, onlyUpstream, new ScanBackwardPlacement());
            SelectiveScanBackwardResult<float> expected = new()
            {
                Y = PerChannel(packed.Y),
                GradU = PerChannel(packed.GradU),
                GradDelta = PerChannel(packed.GradDelta),
                GradB = inputs.ConstantB ? null : PerState(packed.GradB),
                GradC = inputs.ConstantC ? null : PerState(packed.GradC),
                GradZ = packed.GradZ is null ? null : PerChannel(packed.GradZ),
                GradInitialState = Slot(inputs, packed.GradInitialState!, slot),
            };
            AssertSame(expected, alone, $"sequence {sequence} alone");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Does_not_depend_on_the_number_of_threads(string backendName, string name)
    {
        Assert.SkipUnless(backendName == "cpu", "Threads are the cpu backend's.");
        using CpuBackend single = new(threads: 1);
        (SelectiveScanInputs inputs, SelectiveScanUpstream upstream) = Operands(single, name);
        SelectiveScanBackwardResult<float> expected = Run(single, inputs, upstream, new ScanBackwardPlacement());
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            AssertSame(expected, Run(several, inputs, upstream, new ScanBackwardPlacement()), $"{threads} threads");
        }
    }

    /// <summary>
    /// So many channels that a part takes several blocks, and so many sequences that a shard has several. So many columns, too, that chance
    /// takes one of them past the bound of the table's.
    /// </summary>
    [Theory, InlineData("cpu"), InlineData("cuda-float32"), InlineData("cuda-bfloat16")]
    public void Many_channels_and_sequences_are_close_and_repeat(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanCase row = new(19, 35, 2200, 3) { InitialState = true, Packed = true };
        SelectiveScanInputs inputs = Rounded(backend, row.Inputs());
        SelectiveScanUpstream upstream = Rounded(backend, row.Upstream());
        SelectiveScanBackwardResult<float> first = Run(backend, inputs, upstream, new ScanBackwardPlacement());
        double bound = backend.ActivationType == DataType.Float32 ? 1e-6 : 1e-2;
        SelectiveScanBackwardResult<double> expected = SelectiveScanBackwardOracle.Run<double>(inputs, upstream);
        foreach ((string operand, double[]? exact, float[]? actual) in Pairs(expected, first))
        {
            GradientAssert.Near([.. exact!.Select(value => (float)value)], actual!, bound, operand);
        }

        AssertSame(first, Run(backend, inputs, upstream, new ScanBackwardPlacement()), "again");
    }

    [Theory, MemberData(nameof(GoldenCases))]
    public void Agrees_with_golden_data(string backendName, string name)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        using Backend backend = TestBackends.Open(backendName);
        GoldenScan golden = new(Fixtures.PathOf(name));
        double bound = backend.ActivationType == DataType.Float32 ? 1e-4 : 3e-2;
        SelectiveScanInputs inputs = Rounded(backend, golden.Inputs);
        SelectiveScanBackwardResult<float> actual =
            Run(backend, inputs, Rounded(backend, golden.Upstream), new ScanBackwardPlacement());
        int compared = 0;
        foreach ((string operand, float[]? expected, float[]? gradient) in Pairs(golden.Gradients, actual))
        {
            if (expected is not null)
            {
                GradientAssert.Near(expected, gradient!, bound, operand);
                compared++;
            }
        }

        Assert.Equal(golden.GradientCount, compared);
    }

    /// <summary>
    /// Back-propagation through time: a sequence in pieces, each handing the gradient of its first state to the piece before.
    /// </summary>
    [Theory, MemberData(nameof(Backends))]
    public void Segments_with_the_gradient_of_the_state_handed_back_are_the_whole(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanCase row = new(2, 300, 45, 16) { Groups = 3, InitialState = true };
        SelectiveScanInputs inputs = Rounded(backend, row.Inputs());
        SelectiveScanUpstream upstream = Rounded(backend, row.Upstream());
        SelectiveScanBackwardResult<float> whole = Run(backend, inputs, upstream, new ScanBackwardPlacement());

        (int From, int To)[] segments = [(0, 77), (77, 160), (160, 161), (161, 300)];
        SelectiveScanInputs[] pieces = new SelectiveScanInputs[segments.Length];
        float[] state = inputs.InitialState!;
        for (int i = 0; i < segments.Length; i++)
        {
            pieces[i] = inputs.Parts(_ => segments[i]) with { InitialState = state };
            state = SelectiveScanRunner.Run(backend, pieces[i], new ScanPlacement()).FinalState;
        }

        float[] gradState = upstream.GradFinalState!;
        SelectiveScanBackwardResult<float> sums = new()
        {
            GradA = new float[whole.GradA!.Length],
            GradD = new float[whole.GradD!.Length],
            GradDeltaBias = new float[whole.GradDeltaBias!.Length],
        };
        double bound = backend.ActivationType == DataType.Float32 ? 1e-5 : 1e-2;
        for (int i = segments.Length - 1; i >= 0; i--)
        {
            PackedParts parts = new(inputs.Lengths, _ => segments[i]);
            SelectiveScanBackwardResult<float> piece = Run(
                backend, pieces[i], new SelectiveScanUpstream(parts.Rows(upstream.GradY, inputs.Channels), gradState),
                new ScanBackwardPlacement { StateInPlace = true });
            gradState = piece.GradInitialState!;
            GradientAssert.Near(parts.Rows(whole.GradU!, inputs.Channels), piece.GradU!, bound, $"u in segment {i}");
            GradientAssert.Near(parts.Rows(whole.GradDelta!, inputs.Channels), piece.GradDelta!, bound, $"delta in segment {i}");
            GradientAssert.Near(parts.Rows(whole.GradZ!, inputs.Channels), piece.GradZ!, bound, $"z in segment {i}");
            GradientAssert.Near(parts.Rows(whole.GradB!, inputs.Groups * inputs.StateSize), piece.GradB!, bound, $"B in segment {i}");
            GradientAssert.Near(parts.Rows(whole.GradC!, inputs.Groups * inputs.StateSize), piece.GradC!, bound, $"C in segment {i}");
            sums = new SelectiveScanBackwardResult<float>
            {
                GradA = [.. sums.GradA!.Zip(piece.GradA!, (a, b) => a + b)],
                GradD = [.. sums.GradD!.Zip(piece.GradD!, (a, b) => a + b)],
                GradDeltaBias = [.. sums.GradDeltaBias!.Zip(piece.GradDeltaBias!, (a, b) => a + b)],
            };
        }

        GradientAssert.Near(whole.GradInitialState!, gradState, bound, "the initial state");
        GradientAssert.Near(whole.GradA!, sums.GradA!, bound, "A");
        GradientAssert.Near(whole.GradD!, sums.GradD!, bound, "D");
        GradientAssert.Near(whole.GradDeltaBias!, sums.GradDeltaBias!, bound, "the delta bias");
    }

    [Theory, MemberData(nameof(PoisonedOperands))]
    public void Not_a_number_stays_in_its_channel_and_sequence(string backendName, string operand, int sequence)
    {
        const int Channels = 21, StateSize = 5, Groups = 3, Length = 40, PoisonedStep = 17, PoisonedChannel = 9;
        using Backend backend = TestBackends.Open(backendName);
        SelectiveScanCase row = new(3, Length, Channels, StateSize) { Groups = Groups, InitialState = true, Packed = true };
        SelectiveScanInputs inputs = Rounded(backend, row.Inputs());
        SelectiveScanUpstream upstream = Rounded(backend, row.Upstream());
        SelectiveScanBackwardResult<float> clean = Run(backend, inputs, upstream, new ScanBackwardPlacement());
        int firstRow = inputs.Lengths.Take(sequence).Sum();
        int token = firstRow + Math.Min(PoisonedStep, inputs.Lengths[sequence] - 1);
        int group = PoisonedChannel / (Channels / Groups);
        static float[] Poison(float[] values, int index)
        {
            float[] copy = [.. values];
            copy[index] = float.NaN;
            return copy;
        }

        int inRow = (token * Channels) + PoisonedChannel;
        int inGroup = (((token * Groups) + group) * StateSize) + 2;
        int inState = (((inputs.Slots[sequence] * StateSize) + 2) * Channels) + PoisonedChannel;
        SelectiveScanInputs poisoned = operand switch
        {
            "u" => inputs with { U = Poison(inputs.U, inRow) },
            "delta" => inputs with { Delta = Poison(inputs.Delta, inRow) },
            "z" => inputs with { Z = Poison(inputs.Z!, inRow) },
            "B" => inputs with { B = Poison(inputs.B, inGroup) },
            "C" => inputs with { C = Poison(inputs.C, inGroup) },
            "initial state" => inputs with { InitialState = Poison(inputs.InitialState!, inState) },
            _ => inputs,
        };
        SelectiveScanUpstream poisonedUpstream = operand switch
        {
            "grad y" => upstream with { GradY = Poison(upstream.GradY, inRow) },
            "grad final state" => upstream with { GradFinalState = Poison(upstream.GradFinalState!, inState) },
            _ => upstream,
        };
        SelectiveScanBackwardResult<float> actual = Run(backend, poisoned, poisonedUpstream, new ScanBackwardPlacement());

        // B and C belong to all channels of a group; sums over channels mix those of a group, sums over tokens all sequences.
        bool Sequence(int of) => of >= firstRow && of < firstRow + inputs.Lengths[sequence];
        bool Channel(int of) => operand is "B" or "C" ? of / (Channels / Groups) == group : of == PoisonedChannel;
        bool PerChannel(int i) => Sequence(i / Channels) && Channel(i % Channels);
        bool PerState(int i) => Sequence(i / StateSize / Groups) && i / StateSize % Groups == group;
        bool PerParameter(int i) => Channel(i % Channels);
        bool State(int i) => i / Channels / StateSize == inputs.Slots[sequence] && Channel(i % Channels);
        void Contained(string what, float[]? before, float[]? after, Func<int, bool> mayChange)
        {
            for (int i = 0; i < before!.Length; i++)
            {
                Assert.True(mayChange(i) || after![i] == before[i], $"NaN in {operand} reached element {i} of {what}.");
            }
        }

        Contained("grad u", clean.GradU, actual.GradU, PerChannel);
        Contained("grad delta", clean.GradDelta, actual.GradDelta, PerChannel);
        Contained("grad z", clean.GradZ, actual.GradZ, PerChannel);
        Contained("grad B", clean.GradB, actual.GradB, PerState);
        Contained("grad C", clean.GradC, actual.GradC, PerState);
        Contained("grad A", clean.GradA, actual.GradA, PerParameter);
        Contained("grad D", clean.GradD, actual.GradD, PerParameter);
        Contained("grad bias", clean.GradDeltaBias, actual.GradDeltaBias, PerParameter);
        Contained("grad initial state", clean.GradInitialState, actual.GradInitialState, State);

        // And it is not lost: each gradient is NaN just where float64 has it.
        SelectiveScanBackwardResult<double> exact = SelectiveScanBackwardOracle.Run<double>(poisoned, poisonedUpstream);
        GradientAssert.SameNaN(Pairs(exact, actual));
    }

    private static SelectiveScanBackwardResult<float> Run(
        Backend backend, SelectiveScanInputs inputs, SelectiveScanUpstream upstream, ScanBackwardPlacement placement) =>
        SelectiveScanBackwardRunner.Run(backend, inputs, upstream, placement);

    private static (SelectiveScanInputs Inputs, SelectiveScanUpstream Upstream) Operands(Backend backend, string name) =>
        (Rounded(backend, SelectiveScanCase.Named(name).Inputs()), Rounded(backend, SelectiveScanCase.Named(name).Upstream()));

    private static SelectiveScanInputs Rounded(Backend backend, SelectiveScanInputs inputs) =>
        inputs.RoundActivations(values => StoredValues.Round(values, backend.ActivationType));

    private static SelectiveScanUpstream Rounded(Backend backend, SelectiveScanUpstream upstream) =>
        upstream.RoundActivations(values => StoredValues.Round(values, backend.ActivationType));

    private static float[] Slot(SelectiveScanInputs inputs, float[] state, int slot)
    {
        int size = inputs.StateSize * inputs.Channels;
        return state[(slot * size)..((slot + 1) * size)];
    }

    /// <summary>Fails where bits differ of what both have.</summary>
    private static void AssertSame(SelectiveScanBackwardResult<float> expected, SelectiveScanBackwardResult<float> actual, string how)
    {
        GradientAssert.Same(Pairs(expected, actual), how);

        if (expected.Y is not null && actual.Y is not null)
        {
            Bits.AssertSame(expected.Y, actual.Y, $"y, {how}");
        }
    }

    private static IEnumerable<(string Operand, TFirst[]? First, TSecond[]? Second)> Pairs<TFirst, TSecond>(
        SelectiveScanBackwardResult<TFirst> first, SelectiveScanBackwardResult<TSecond> second) =>
    [
        ("u", first.GradU, second.GradU), ("delta", first.GradDelta, second.GradDelta), ("A", first.GradA, second.GradA),
        ("B", first.GradB, second.GradB), ("C", first.GradC, second.GradC), ("D", first.GradD, second.GradD),
        ("z", first.GradZ, second.GradZ), ("the delta bias", first.GradDeltaBias, second.GradDeltaBias),
        ("the initial state", first.GradInitialState, second.GradInitialState),
    ];
}
