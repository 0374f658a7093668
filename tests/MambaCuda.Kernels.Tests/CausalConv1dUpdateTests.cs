namespace MambaCuda.Kernels.Tests;

/// <summary>One token at a time is the convolution.</summary>
public class CausalConv1dUpdateTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.CausalConv1dUpdate), CausalConv1dCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Steps_of_one_token_are_the_convolution(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        CausalConv1dInputs inputs = CausalConv1dCase.Named(name).UpdateInputs()
            .RoundActivations(values => StoredValues.Round(values, backend.ActivationType));
        CausalConv1dResult<float> whole = CausalConv1dRunner.Run(backend, inputs, new ConvPlacement { StateInPlace = true });
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            CausalConv1dResult<float> steps = CausalConv1dRunner.RunSteps(backend, inputs, gap);
            Bits.AssertSame(whole.Y, steps.Y, $"y, gap {gap}");
            Bits.AssertSame(whole.FinalState, steps.FinalState, $"final state, gap {gap}");
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

    [Theory, InlineData(false, "initial state is missing"), InlineData(true, "final state is missing")]
    public void A_missing_state_is_refused(bool initialState, string message)
    {
        using CpuBackend backend = new(threads: 1);
        ShapeException exception = Assert.Throws<ShapeException>(() => CausalConv1dRunner.Run(
            backend,
            (new CausalConv1dCase(2, 1, 4, 4) with { InitialState = initialState }).Inputs(),
            new ConvPlacement { OneTokenUpdate = true, WithoutFinalState = initialState }));
        Assert.Contains("CausalConv1dUpdate", exception.Message, StringComparison.Ordinal);
        Assert.Contains(message, exception.Message, StringComparison.Ordinal);
    }
}
