using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Runs the inner part of a block on a backend, guard words around every operand.</summary>
public static class MixerStepRunner
{
    /// <summary>Runs one; free slots are checked to be untouched.</summary>
    public static MixerStepResult<float> Run(Backend backend, MixerStepInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        MixerStepCase sizes = inputs.Case;
        (int rows, int channels, int rank, int states, int history) =
            (sizes.Rows, sizes.Channels, sizes.Rank, sizes.StateSize, sizes.Width - 1);
        int outputs = rank + (2 * states);
        DataType type = backend.ActivationType;
        List<(string Name, GuardedMatrix Matrix)> read = [], written = [];
        GuardedMatrix Read(string name, DataType as_, int count, int columns, float[] values)
        {
            read.Add((name, GuardedMatrix.Input(backend, as_, count, columns, values, gap)));
            return read[^1].Matrix;
        }

        GuardedMatrix Written(string name, DataType as_, int count, int columns, float[]? values = null)
        {
            written.Add((name, GuardedMatrix.Output(backend, as_, count, columns, values, gap)));
            return written[^1].Matrix;
        }

        using PlacedWeight scanProjection = new(
            backend, "scan projection", type, outputs, channels, inputs.ScanProjection, inputs.QuantizedScanProjection, gap);
        using PlacedWeight timeStepProjection = new(
            backend, "time step projection", type, channels, rank, inputs.TimeStepProjection, inputs.QuantizedTimeStepProjection, gap);
        try
        {
            GuardedMatrix y = Written("y", type, rows, channels);
            GuardedMatrix convolution = Written(
                "convolution state", DataType.Float32, inputs.SlotCount * history, channels, inputs.ConvolutionState);
            GuardedMatrix scan = Written("scan state", DataType.Float32, inputs.SlotCount * states, channels, inputs.State);
            backend.MixerStep(new MixerStepArgs
            {
                Sequences = SequenceLayout.Packed([.. Enumerable.Repeat(1, rows)], inputs.Slots),
                X = Read("x", type, rows, channels, inputs.X).View,
                Z = Read("z", type, rows, channels, inputs.Z).View,
                ConvolutionWeight = Read("convolution", DataType.Float32, sizes.Width, channels, inputs.ConvolutionWeight).View,
                ConvolutionBias = inputs.ConvolutionBias is null
                    ? default : Read("convolution bias", DataType.Float32, 1, channels, inputs.ConvolutionBias).View,
                ConvolutionBefore = sizes.InPlace ? convolution.View
                    : Read("convolution before", DataType.Float32, inputs.SlotCount * history, channels, inputs.ConvolutionState).View,
                ConvolutionAfter = convolution.View,
                ScanProjection = scanProjection.View,
                TimeStepProjection = timeStepProjection.View,
                TimeStepBias = Read("time step bias", DataType.Float32, 1, channels, inputs.TimeStepBias).View,
                A = Read("A", DataType.Float32, states, channels, inputs.A).View,
                D = Read("D", DataType.Float32, 1, channels, inputs.D).View,
                ScanBefore = sizes.InPlace ? scan.View
                    : Read("scan before", DataType.Float32, inputs.SlotCount * states, channels, inputs.State).View,
                ScanAfter = scan.View,
                InnerWork = Written("inner work", type, rows, channels).View,
                ScanInputsWork = Written("scan inputs work", type, rows, outputs).View,
                DeltaWork = Written("delta work", type, rows, channels).View,
                Y = y.View,
            });
            read.ForEach(each => each.Matrix.AssertUnchanged(each.Name));
            scanProjection.AssertUnchanged();
            timeStepProjection.AssertUnchanged();
            written.ForEach(each => each.Matrix.AssertGuardsIntact(each.Name));
            convolution.AssertRowsUnchanged("convolution state", row => !inputs.Slots.Contains(row / history));
            scan.AssertRowsUnchanged("scan state", row => !inputs.Slots.Contains(row / states));
            return new MixerStepResult<float>(y.Values(), convolution.Values(), scan.Values());
        }
        finally
        {
            read.ForEach(each => each.Matrix.Dispose());
            written.ForEach(each => each.Matrix.Dispose());
        }
    }
}
