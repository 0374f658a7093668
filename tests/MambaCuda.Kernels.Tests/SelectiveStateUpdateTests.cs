namespace MambaCuda.Kernels.Tests;

/// <summary>One token at a time is the scan.</summary>
public class SelectiveStateUpdateTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(
        nameof(Backend.SelectiveStateUpdate), SelectiveScanCase.Updates.Select(row => row.Name));

    [Theory, MemberData(nameof(Cases))]
    public void Steps_of_one_token_are_the_scan(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        Assert.SkipWhen(
            !SelectiveScanCase.Named(name).Fits(backend.ActivationType), "Large results are beyond float16, in a plain evaluation too.");
        SelectiveScanInputs inputs = SelectiveScanCase.Named(name).UpdateInputs()
            .RoundActivations(values => StoredValues.Round(values, backend.ActivationType));
        SelectiveScanSteps steps = SelectiveScanRunner.RunSteps(backend, inputs);
        if (backend.Name != "cpu")
        {
            // CUDA's update adds a sum over states in another order than its scan does.
            Within.AssertAll(SelectiveStateUpdateValidation.Compare(inputs, steps, backend.ActivationType));
            return;
        }

        SelectiveScanResult<float> scan = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { StateInPlace = true });
        Bits.AssertSame(scan.Y, steps.Y, "y");
        Bits.AssertSame(scan.FinalState, steps.States[^1], "final state");
    }

    [Fact]
    public void A_longer_sequence_is_refused()
    {
        using CpuBackend backend = new(threads: 1);
        SelectiveScanInputs inputs = new SelectiveScanCase(2, 3, 4, 2).Inputs();
        ShapeException exception = Assert.Throws<ShapeException>(
            () => SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { StateInPlace = true, OneTokenUpdate = true }));
        Assert.Contains("SelectiveStateUpdate", exception.Message, StringComparison.Ordinal);
        Assert.Contains("a sequence has 3 tokens", exception.Message, StringComparison.Ordinal);
    }

    [Theory, InlineData(false, "initial state is missing"), InlineData(true, "final state is missing")]
    public void A_missing_state_is_refused(bool initialState, string message)
    {
        using CpuBackend backend = new(threads: 1);
        ShapeException exception = Assert.Throws<ShapeException>(() => SelectiveScanRunner.Run(
            backend,
            (new SelectiveScanCase(2, 1, 4, 2) with { InitialState = initialState }).Inputs(),
            new ScanPlacement { OneTokenUpdate = true, WithoutFinalState = initialState }));
        Assert.Contains("SelectiveStateUpdate", exception.Message, StringComparison.Ordinal);
        Assert.Contains(message, exception.Message, StringComparison.Ordinal);
    }
}
