using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Runs a whole step of decode on a backend, guard words around every operand.</summary>
public static class DecodeStepRunner
{
    /// <summary>Runs one, twice where it may; free slots are checked to be untouched.</summary>
    /// <exception cref="InvalidOperationException">The backend has no step of its own for the operands.</exception>
    public static DecodeStepResult<float> Run(Backend backend, DecodeStepInputs inputs)
    {
        const int History = DecodeStepCase.ConvolutionWidth - 1;
        DecodeStepCase sizes = inputs.Case;
        (int rows, int width, int channels, int rank, int states) = (sizes.Rows, sizes.Width, sizes.Channels, sizes.Rank, sizes.StateSize);
        DataType type = backend.ActivationType;
        List<(string Name, GuardedMatrix Matrix)> read = [], written = [];
        List<PlacedWeight> weights = [];

        // Rows one after the other: others are not taken.
        MatrixView Read(string name, DataType as_, int count, int columns, float[]? values)
        {
            if (values is null)
            {
                return default;
            }

            read.Add((name, GuardedMatrix.Input(backend, as_, count, columns, values, gap: 0)));
            return read[^1].Matrix.View;
        }

        WeightView Weight(string name, int outputs, int columns, DecodeStepWeight weight)
        {
            weights.Add(new PlacedWeight(backend, name, type, outputs, columns, weight.Values, weight.Quantized, gap: 0));
            return weights[^1].View;
        }

        GuardedMatrix Written(string name, int count, int columns, float[]? values, int gap)
        {
            written.Add((name, GuardedMatrix.Output(backend, DataType.Float32, count, columns, values, gap)));
            return written[^1].Matrix;
        }

        try
        {
            GuardedMatrix logits = Written("logits", rows, sizes.Vocabulary, null, GuardedMatrix.UsualGap);
            List<GuardedMatrix> convolutions = [], scans = [];
            DecodeStepLayer Layer(DecodeStepLayerInputs layer)
            {
                convolutions.Add(Written("convolution state", inputs.SlotCount * History, channels, layer.ConvolutionState, gap: 0));
                scans.Add(Written("scan state", inputs.SlotCount * states, channels, layer.State, gap: 0));
                return new DecodeStepLayer
                {
                    NormWeight = Read("norm", DataType.Float32, 1, width, layer.NormWeight),
                    InProjection = Weight("in projection", 2 * channels, width, layer.InProjection),
                    ConvolutionWeight = Read("convolution", DataType.Float32, DecodeStepCase.ConvolutionWidth, channels, layer.ConvolutionWeight),
                    ConvolutionBias = Read("convolution bias", DataType.Float32, 1, channels, layer.ConvolutionBias),
                    ScanProjection = Weight("scan projection", rank + (2 * states), channels, layer.ScanProjection),
                    TimeStepProjection = Weight("time step projection", channels, rank, layer.TimeStepProjection),
                    TimeStepBias = Read("time step bias", DataType.Float32, 1, channels, layer.TimeStepBias),
                    A = Read("A", DataType.Float32, states, channels, layer.A),
                    D = Read("D", DataType.Float32, 1, channels, layer.D),
                    OutProjection = Weight("out projection", width, channels, layer.OutProjection),
                    ConvolutionBefore = sizes.InPlace ? convolutions[^1].View
                        : Read("convolution before", DataType.Float32, inputs.SlotCount * History, channels, layer.ConvolutionState),
                    ConvolutionAfter = convolutions[^1].View,
                    ScanBefore = sizes.InPlace ? scans[^1].View
                        : Read("scan before", DataType.Float32, inputs.SlotCount * states, channels, layer.State),
                    ScanAfter = scans[^1].View,
                };
            }

            read.Add(("tokens", GuardedMatrix.Input(backend, rows, 1, inputs.Tokens, gap: 0)));
            DecodeStepArgs args = new()
            {
                Sequences = SequenceLayout.Packed([.. Enumerable.Repeat(1, rows)], inputs.Slots),
                TokenIds = read[^1].Matrix.View,
                Embedding = Read("embedding", type, sizes.Vocabulary, width, inputs.Embedding),
                Layers = [.. inputs.Layers.Select(Layer)],
                FinalNormWeight = Read("final norm", DataType.Float32, 1, width, inputs.FinalNormWeight),
                Epsilon = DecodeStepCase.Epsilon,
                Head = Weight("head", sizes.Vocabulary, width, inputs.Head),
                Logits = logits.View,
            };
            using (PreparedDecodeStep step = backend.PrepareDecodeStep(args)
                ?? throw new InvalidOperationException("The backend has no step of its own for this case."))
            {
                for (int run = 0; run < (sizes.InPlace ? 1 : 2); run++)
                {
                    step.Run();
                }

                backend.Synchronize();
            }

            read.ForEach(each => each.Matrix.AssertUnchanged(each.Name));
            weights.ForEach(each => each.AssertUnchanged());
            written.ForEach(each => each.Matrix.AssertGuardsIntact(each.Name));
            convolutions.ForEach(each => each.AssertRowsUnchanged("convolution state", row => !inputs.Slots.Contains(row / History)));
            scans.ForEach(each => each.AssertRowsUnchanged("scan state", row => !inputs.Slots.Contains(row / states)));
            return new DecodeStepResult<float>(
                logits.Values(), [.. convolutions.SelectMany(each => each.Values())], [.. scans.SelectMany(each => each.Values())]);
        }
        finally
        {
            read.ForEach(each => each.Matrix.Dispose());
            weights.ForEach(each => each.Dispose());
            written.ForEach(each => each.Matrix.Dispose());
        }
    }
}
