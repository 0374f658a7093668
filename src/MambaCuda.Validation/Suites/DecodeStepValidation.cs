using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>A whole step of decode against float64, where a backend has it in one.</summary>
public static class DecodeStepValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>: of a card with bf16; elsewhere the step's parts are the operations.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend)
    {
        if (backend is not CudaBackend { ActivationType: DataType.BFloat16 } cuda)
        {
            return [];
        }

        return
            from row in (DecodeStepCase[])[.. DecodeStepCase.All, .. DecodeStepCase.Wide(cuda.Context.Device.MultiprocessorCount)]
            select new ValidationRow("DecodeStep", row.Name, device =>
            {
                DecodeStepInputs inputs = row.Operands(device.ActivationType);
                return Compare(inputs, DecodeStepRunner.Run(device, inputs), device.ActivationType);
            })
            {
                Work = row.Rows * (((long)row.LayerCount * row.Channels * ((3 * row.Width) + (2 * row.Rank) + (4 * row.StateSize)))
                    + ((long)row.Vocabulary * row.Width)),
            };
    }

    /// <summary>
    /// How far a result is from float64; the plain evaluation rounds every activation as the operations by themselves store it. Errors of
    /// logits belong to their row, those of states to their slot of their layer.
    /// </summary>
    public static IReadOnlyList<OutputError> Compare(DecodeStepInputs inputs, DecodeStepResult<float> actual, DataType activation)
    {
        float Stored(float value) => StoredValues.Round([value], activation)[0];
        (DecodeStepResult<double> exact, DecodeStepResult<double> size) = DecodeStepOracle.Run<double>(inputs, value => value);
        (DecodeStepResult<float> plain, _) = DecodeStepOracle.Run<float>(inputs, Stored);
        DecodeStepCase sizes = inputs.Case;
        int slots = sizes.LayerCount * inputs.SlotCount;
        PlainBound Bound(Func<DecodeStepResult<double>, double[]> ofExact, float[] ofPlain) =>
            new(ofExact(exact), ofPlain, ofExact(size), columns: 1) { UnitRoundoff = StoredValues.StateRoundoff(activation) };
        return
        [
            Bound(result => result.Logits, plain.Logits).Worst("logits", actual.Logits, Enumerable.Repeat(sizes.Vocabulary, sizes.Rows)),
            Bound(result => result.ConvolutionStates, plain.ConvolutionStates).Worst(
                "convolution states",
                actual.ConvolutionStates,
                Enumerable.Repeat((DecodeStepCase.ConvolutionWidth - 1) * sizes.Channels, slots)),
            Bound(result => result.States, plain.States).Worst(
                "scan states", actual.States, Enumerable.Repeat(sizes.StateSize * sizes.Channels, slots)),
        ];
    }
}
