namespace MambaCuda.Kernels.Tests;

/// <summary>One token at a time is the scan.</summary>
public class SelectiveStateUpdateTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.SelectiveStateUpdate), SelectiveScanCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Steps_of_one_token_are_the_scan(string backendName, string name)
    {
        const int Steps = 12;
        using Backend backend = TestBackends.Open(backendName);
        Assert.SkipWhen(
            !SelectiveScanCase.Named(name).Fits(backend.ActivationType), "Large results are beyond float16, in a plain evaluation too.");
        SelectiveScanInputs all = SelectiveScanCase.Named(name).Inputs();
        SelectiveScanInputs inputs = all.Parts(sequence => (0, Math.Min(Steps, all.Lengths[sequence])))
            .RoundActivations(values => StoredValues.Round(values, backend.ActivationType));
        SelectiveScanResult<float> scan = SelectiveScanRunner.Run(backend, inputs, new ScanPlacement { StateInPlace = true });
        float[] y = new float[scan.Y.Length];
        float[]? state = inputs.InitialState?.ToArray();
        for (int t = 0; t < inputs.Lengths.Max(); t++)
        {
            (int, int) Step(int sequence) => (t, Math.Min(t + 1, inputs.Lengths[sequence]));
            SelectiveScanInputs step = inputs.Parts(Step) with { InitialState = state };
            ScanOutput output = (ScanOutput)(inputs.Z is null ? t % 2 : t % 3);
            SelectiveScanResult<float> updated = SelectiveScanRunner.Run(
                backend, step, new ScanPlacement { StateInPlace = true, OneTokenUpdate = true, Output = output });
            Gather(updated.Y, inputs, t, y);

            // The runner gives zeros for slots without a sequence; sequences that have ended keep what they had.
            state ??= new float[inputs.SlotCount * inputs.StateSize * inputs.Channels];
            foreach (int slot in step.Slots)
            {
                int size = inputs.StateSize * inputs.Channels;
                updated.FinalState.AsSpan(slot * size, size).CopyTo(state.AsSpan(slot * size));
            }
        }

        if (backend.Name != "cpu")
        {
            // CUDA's update adds a sum over states in another order than its scan does. Slots without a sequence count as zero.
            int slotSize = inputs.StateSize * inputs.Channels;
            foreach (int slot in Enumerable.Range(0, inputs.SlotCount).Except(inputs.Slots))
            {
                state.AsSpan(slot * slotSize, slotSize).Clear();
            }

            SelectiveScanResult<float> steps = new(y, state!);
            Within.AssertAll(SelectiveScanForwardValidation.Compare(inputs, steps, backend.ActivationType));
            return;
        }

        Bits.AssertSame(scan.Y, y, "y");
        foreach (int slot in inputs.Slots)
        {
            int size = inputs.StateSize * inputs.Channels;
            Range range = (slot * size)..((slot + 1) * size);
            Bits.AssertSame(scan.FinalState[range], state![range], $"state in slot {slot}");
        }
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

    [Theory, InlineData(false), InlineData(true)]
    public void Two_states_are_refused(bool withoutFinalState)
    {
        using CpuBackend backend = new(threads: 1);
        SelectiveScanInputs inputs = new SelectiveScanCase(2, 1, 4, 2) { InitialState = true }.Inputs();
        ShapeException exception = Assert.Throws<ShapeException>(() => SelectiveScanRunner.Run(
            backend, inputs, new ScanPlacement { OneTokenUpdate = true, WithoutFinalState = withoutFinalState }));
        Assert.Contains("SelectiveStateUpdate", exception.Message, StringComparison.Ordinal);
        Assert.Contains("one and the same view", exception.Message, StringComparison.Ordinal);
    }

    // Puts the rows of a step, one for each sequence that has it, where they lie in the whole.
    private static void Gather(float[] step, SelectiveScanInputs inputs, int number, float[] whole)
    {
        int from = 0, start = 0;
        foreach (int length in inputs.Lengths)
        {
            if (number < length)
            {
                step.AsSpan(from, inputs.Channels).CopyTo(whole.AsSpan((start + number) * inputs.Channels));
                from += inputs.Channels;
            }

            start += length;
        }
    }
}
