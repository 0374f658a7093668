using System.Numerics;
using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradients of a linear layer against float64: as the backend chooses to compute them, then in each of its ways.</summary>
public static class LinearBackwardValidation
{
    // Sizes that no tile divides and sizes that all do; sums that are split; gradients that are added to others.
    private static readonly (int Rows, int Outputs, int Inputs, DataType Type, bool Add)[] Cases =
    [
        (1, 1, 1, DataType.Float32, false),
        (13, 31, 37, DataType.BFloat16, true),
        (24, 16, 8, DataType.Float16, true),
        (100, 130, 257, DataType.Float32, true),
        (300, 264, 136, DataType.BFloat16, false),
        (2000, 40, 72, DataType.Float16, true),
    ];

    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in Cases
        from placement in RowPlacement.For(row.Inputs | row.Outputs)

            // The weight as activations are, which tensor cores need, or as something else.
        from type in new[] { backend.ActivationType, row.Type }.Distinct()
        from algorithm in Algorithms(backend)
        let name = $"r{row.Rows} o{row.Outputs} i{row.Inputs} w-{StoredValues.ShortName(type)}{(row.Add ? " added" : "")}"
        select new ValidationRow(
            nameof(Backend.LinearBackward), placement.Of(name),
            device => Run(device, row.Rows, row.Outputs, row.Inputs, type, row.Add, placement.Gap, algorithm))
        {
            Variant = algorithm == LinearAlgorithm.Auto ? null : algorithm.ToString(),
            Work = 2L * row.Rows * row.Outputs * row.Inputs,
        };

    // Tensor cores have no float32.
    private static LinearAlgorithm[] Algorithms(Backend backend) => (backend as CudaBackend)?.ActivationType switch
    {
        null => [LinearAlgorithm.Auto],
        DataType.Float32 => [LinearAlgorithm.Auto, LinearAlgorithm.Simt],
        _ => [LinearAlgorithm.Auto, LinearAlgorithm.TensorCore, LinearAlgorithm.Simt],
    };

    private static IReadOnlyList<OutputError> Run(
        Backend backend, int rows, int outputs, int inputs, DataType type, bool add, int gap, LinearAlgorithm algorithm)
    {
        DataType activation = backend.ActivationType;
        RandomValues random = new($"{rows} {outputs} {inputs}");
        float[] xValues = StoredValues.Round(random.Normal(rows * inputs), activation);
        float[] weightValues = StoredValues.Round(random.Normal(outputs * inputs, 0, 0.1f), type);
        float[] gradYValues = StoredValues.Round(random.Normal(rows * outputs, 0.1f), activation);
        float[]? gradXValues = add ? StoredValues.Round(random.Normal(rows * inputs), activation) : null;
        float[]? gradWeightValues = add ? random.Normal(outputs * inputs) : null;
        float[] gradBiasValues = random.Normal(outputs);

        using GuardedMatrix x = GuardedMatrix.Input(backend, activation, rows, inputs, xValues, gap);
        using GuardedMatrix weight = GuardedMatrix.Input(backend, type, outputs, inputs, weightValues, gap);
        using GuardedMatrix gradY = GuardedMatrix.Input(backend, activation, rows, outputs, gradYValues, gap);
        using GuardedMatrix gradX = GuardedMatrix.Output(backend, activation, rows, inputs, gradXValues, gap);
        using GuardedMatrix gradWeight = GuardedMatrix.Output(backend, DataType.Float32, outputs, inputs, gradWeightValues, gap);
        using GuardedMatrix gradBias = GuardedMatrix.Output(backend, DataType.Float32, 1, outputs, gradBiasValues, gap);
        LinearBackwardArgs args = new()
        {
            X = x.View,
            Weight = weight.View,
            GradY = gradY.View,
            GradX = gradX.View,
            AddToGradX = add,
            GradWeight = gradWeight.View,
            OverwritesGradWeight = !add,
            GradBias = gradBias.View,
        };
        if (algorithm == LinearAlgorithm.Auto)
        {
            backend.LinearBackward(args);
        }
        else
        {
            ((CudaBackend)backend).LinearBackward(args, algorithm);
        }

        x.AssertUnchanged("x");
        weight.AssertUnchanged("weight");
        gradY.AssertUnchanged("gradient of y");
        gradX.AssertGuardsIntact("gradient of x");
        gradWeight.AssertGuardsIntact("gradient of the weight");
        gradBias.AssertGuardsIntact("gradient of the bias");

        T[] OfX<T>(Func<float[], float[]> of) where T : IFloatingPointIeee754<T> => LinearBackwardOracle.OfX<T>(
            of(gradYValues), of(weightValues), gradXValues is null ? null : of(gradXValues), rows, outputs, inputs);
        T[] OfWeight<T>(Func<float[], float[]> of) where T : IFloatingPointIeee754<T> =>
            LinearBackwardOracle.OfWeight<T>(
                of(gradYValues), of(xValues), of(gradWeightValues ?? new float[outputs * inputs]), rows, outputs, inputs);
        T[] OfBias<T>(Func<float[], float[]> of) where T : IFloatingPointIeee754<T> =>
            LinearBackwardOracle.OfBias<T>(of(gradYValues), of(gradBiasValues));

        PlainBound boundX = new(OfX<double>(AsIs), StoredValues.Round(OfX<float>(AsIs), activation), OfX<double>(Absolute), inputs)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        PlainBound boundWeight = new(OfWeight<double>(AsIs), OfWeight<float>(AsIs), OfWeight<double>(Absolute), inputs);
        PlainBound boundBias = new(OfBias<double>(AsIs), OfBias<float>(AsIs), OfBias<double>(Absolute), outputs);
        return
        [
            boundX.Worst("grad x", gradX.Values(), [rows]),
            boundWeight.Worst("grad weight", gradWeight.Values(), [outputs]),
            boundBias.Worst("grad bias", gradBias.Values(), [1]),
        ];
    }

    private static float[] AsIs(float[] values) => values;

    private static float[] Absolute(float[] values) => Array.ConvertAll(values, MathF.Abs);
}
