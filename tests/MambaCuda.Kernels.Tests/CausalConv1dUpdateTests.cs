namespace MambaCuda.Kernels.Tests;

/// <summary>One token at a time is the convolution.</summary>
public class CausalConv1dUpdateTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.CausalConv1dUpdate), CausalConv1dCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Steps_of_one_token_are_the_convolution(string backendName, string name)
    {
        const int Steps = 12;
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dInputs all = CausalConv1dCase.Named(name).Inputs();
        CausalConv1dInputs inputs = all.Parts(sequence => (0, Math.Min(Steps, all.Lengths[sequence])))
            .RoundActivations(values => StoredValues.Round(values, backend.ActivationType));
        CausalConv1dResult<float> whole = CausalConv1dRunner.Run(backend, inputs, new ConvPlacement { StateInPlace = true });
        int slotSize = (inputs.Width - 1) * inputs.Channels;
        float[] state = inputs.InitialState ?? new float[inputs.SlotCount * slotSize];
        for (int t = 0; t < inputs.Lengths.Max(); t++)
        {
            (int, int) Step(int sequence) => (t, Math.Min(t + 1, inputs.Lengths[sequence]));
            CausalConv1dInputs step = inputs.Parts(Step) with { InitialState = state };
            CausalConv1dResult<float> updated = CausalConv1dRunner.Run(
                backend, step, new ConvPlacement { StateInPlace = true, OneTokenUpdate = true, Gap = t % 2 == 0 ? GuardedMatrix.UsualGap : GuardedMatrix.AlignedGap });
            Bits.AssertSame(new PackedParts(inputs.Lengths, Step).Rows(whole.Y, inputs.Channels), updated.Y, $"y of step {t}");
            foreach (int slot in step.Slots)
            {
                updated.FinalState.AsSpan(slot * slotSize, slotSize).CopyTo(state.AsSpan(slot * slotSize));
            }
        }

        foreach (int slot in inputs.Slots)
        {
            Range range = (slot * slotSize)..((slot + 1) * slotSize);
            Bits.AssertSame(whole.FinalState[range], state[range], $"state in slot {slot}");
        }
    }

    [Fact]
    public void A_longer_sequence_is_refused()
    {
        using CpuBackend backend = new(threads: 1);
        CausalConv1dInputs inputs = new CausalConv1dCase(2, 3, 4, 4).Inputs();
        ShapeException exception = Assert.Throws<ShapeException>(
            () => CausalConv1dRunner.Run(backend, inputs, new ConvPlacement { StateInPlace = true, OneTokenUpdate = true }));
        Assert.Contains("CausalConv1dUpdate", exception.Message, StringComparison.Ordinal);
        Assert.Contains("a sequence has 3 tokens", exception.Message, StringComparison.Ordinal);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Two_states_are_refused(bool withoutFinalState)
    {
        using CpuBackend backend = new(threads: 1);
        CausalConv1dInputs inputs = new CausalConv1dCase(2, 1, 4, 4) { InitialState = true }.Inputs();
        ShapeException exception = Assert.Throws<ShapeException>(() => CausalConv1dRunner.Run(
            backend, inputs, new ConvPlacement { OneTokenUpdate = true, WithoutFinalState = withoutFinalState }));
        Assert.Contains("CausalConv1dUpdate", exception.Message, StringComparison.Ordinal);
        Assert.Contains("one and the same view", exception.Message, StringComparison.Ordinal);
    }
}
