using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The inner part of a block, one token of each sequence, against float64.</summary>
public static class MixerStepValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in MixerStepCase.All
        from placement in RowPlacement.For(row.Channels, row.Quantized is not null)
        select new ValidationRow(nameof(Backend.MixerStep), placement.Of(row.Name), device =>
        {
            MixerStepInputs inputs = row.Operands(device.ActivationType);
            return Compare(inputs, MixerStepRunner.Run(device, inputs, placement.Gap), device.ActivationType);
        })
        { Work = (long)row.Rows * row.Channels * (row.Rank + row.StateSize) };

    /// <summary>
    /// How far a result is from float64; the plain evaluation rounds every activation as the operations by themselves store it. The
    /// convolution's state is x, and must be it bit for bit. Errors of y belong to its row, those of the state to its slot.
    /// </summary>
    public static IReadOnlyList<OutputError> Compare(MixerStepInputs inputs, MixerStepResult<float> actual, DataType activation)
    {
        float Stored(float value) => StoredValues.Round([value], activation)[0];
        MixerStepResult<double> exact = MixerStepOracle.Run<double>(inputs, value => value, value => value);
        MixerStepResult<float> plain = MixerStepOracle.Run<float>(inputs, Stored, value => value);
        MixerStepResult<double> size = MixerStepOracle.Run<double>(inputs, value => value, double.Abs);
        MixerStepCase sizes = inputs.Case;
        PlainBound y = new(exact.Y, StoredValues.Round(plain.Y, activation), size.Y, columns: 1)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        PlainBound state = new(exact.State, plain.State, size.State, columns: 1) { UnitRoundoff = StoredValues.StateRoundoff(activation) };
        return
        [
            y.Worst("y", actual.Y, Enumerable.Repeat(sizes.Channels, sizes.Rows)),
            OutputError.Exactly("convolution state", plain.ConvolutionState, actual.ConvolutionState),
            state.Worst("scan state", actual.State, Enumerable.Repeat(sizes.StateSize * sizes.Channels, inputs.SlotCount)),
        ];
    }
}
