namespace MambaCuda.Kernels.Tests;

/// <summary>The oracle of the convolution's gradients against finite differences of the convolution's oracle.</summary>
public class CausalConv1dBackwardOracleTests
{
    private static readonly CausalConv1dCase[] Table =
    [
        new(1, 1, 1, 2),
        new(2, 5, 3, 2) { Silu = true, InitialState = true },
        new(3, 7, 2, 3) { Bias = true, Silu = true, InitialState = true, Packed = true },
        new(2, 2, 3, 4) { Bias = true, Silu = true, InitialState = true, TwoGradients = true },
        new(3, 6, 2, 4) { Bias = true, Silu = true, InitialState = true, Packed = true },
        new(1, 9, 2, 4) { Bias = true },
    ];

    public static TheoryData<string> Cases => [.. Table.Select(row => row.Name)];

    [Theory, MemberData(nameof(Cases))]
    public void Gradients_are_finite_differences(string name)
    {
        CausalConv1dCase row = Table.Single(row => row.Name == name);
        CausalConv1dUpstream upstream = row.Upstream();
        CausalConv1dInputs inputs = row.Inputs();
        inputs = inputs with
        {
            X = FiniteDifferences.Exact(inputs.X),
            Weight = FiniteDifferences.Exact(inputs.Weight),
            Bias = inputs.Bias is null ? null : FiniteDifferences.Exact(inputs.Bias),
            InitialState = inputs.InitialState is null ? null : FiniteDifferences.Exact(inputs.InitialState),
        };
        CausalConv1dBackwardResult<double> gradients = CausalConv1dBackwardOracle.Run<double>(inputs, upstream);
        void Check(string what, float[]? operand, double[]? gradient, Func<float[], CausalConv1dInputs> moved)
        {
            Assert.Equal(operand is null, gradient is null);
            if (operand is not null)
            {
                FiniteDifferences.AssertGradient(what, operand, gradient!, values => Loss(moved(values), upstream));
            }
        }

        Check("x", inputs.X, gradients.GradX, values => inputs with { X = values });
        Check("the weight", inputs.Weight, gradients.GradWeight, values => inputs with { Weight = values });
        Check("the bias", inputs.Bias, gradients.GradBias, values => inputs with { Bias = values });

        // A convolution without an initial state has the gradient of one that is zero.
        float[] state = inputs.InitialState ?? new float[gradients.GradInitialState!.Length];
        Check("the initial state", state, gradients.GradInitialState, values => inputs with { InitialState = values });
    }

    private static double Loss(CausalConv1dInputs inputs, CausalConv1dUpstream upstream)
    {
        CausalConv1dResult<double> result = CausalConv1dOracle.Run<double>(inputs);
        return result.Y.Select((y, i) => y * upstream.WholeGradY<double>(i)).Sum()
            + result.FinalState.Zip(upstream.GradFinalState!, (state, grad) => state * grad).Sum();
    }
}
