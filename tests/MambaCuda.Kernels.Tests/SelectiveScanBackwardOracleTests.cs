namespace MambaCuda.Kernels.Tests;

/// <summary>The oracle of the scan's gradients against finite differences of the scan's oracle.</summary>
public class SelectiveScanBackwardOracleTests
{
    private static readonly SelectiveScanCase[] Table =
    [
        new(1, 1, 1, 1),
        new(2, 5, 3, 2) { InitialState = true },
        new(3, 5, 6, 3) { Groups = 2, InitialState = true, Packed = true },
        new(2, 4, 3, 2) { Groups = 3, Skip = false, Gate = false, DeltaBias = false, Softplus = false, InitialState = true },
        new(2, 5, 3, 3) { ConstantB = true, InitialState = true, Packed = true },
        new(2, 5, 4, 3) { ConstantC = true, Groups = 2, Gate = false, InitialState = true },
        new(1, 7, 3, 2) { ConstantB = true, ConstantC = true, Softplus = false, Skip = false, InitialState = true },
        new(1, 7, 3, 2) { DeltaBias = false, Gate = false },
    ];

    public static TheoryData<string> Cases => [.. Table.Select(row => row.Name)];

    [Theory, MemberData(nameof(Cases))]
    public void Gradients_are_finite_differences(string name)
    {
        SelectiveScanCase row = Table.Single(row => row.Name == name);
        SelectiveScanUpstream upstream = row.Upstream();
        SelectiveScanInputs inputs = Exact(row.Inputs());
        SelectiveScanBackwardResult<double> gradients = SelectiveScanBackwardOracle.Run<double>(inputs, upstream);
        void Check(string what, float[]? operand, double[]? gradient, Func<float[], SelectiveScanInputs> moved)
        {
            Assert.Equal(operand is null, gradient is null);
            if (operand is not null)
            {
                FiniteDifferences.AssertGradient(what, operand, gradient!, values => Loss(moved(values), upstream));
            }
        }

        Check("u", inputs.U, gradients.GradU, values => inputs with { U = values });
        Check("delta", inputs.Delta, gradients.GradDelta, values => inputs with { Delta = values });
        Check("A", inputs.A, gradients.GradA, values => inputs with { A = values });
        Check("B", inputs.B, gradients.GradB, values => inputs with { B = values });
        Check("C", inputs.C, gradients.GradC, values => inputs with { C = values });
        Check("D", inputs.D, gradients.GradD, values => inputs with { D = values });
        Check("z", inputs.Z, gradients.GradZ, values => inputs with { Z = values });
        Check("the delta bias", inputs.DeltaBias, gradients.GradDeltaBias, values => inputs with { DeltaBias = values });

        // A scan without an initial state has the gradient of one that is zero.
        float[] state = inputs.InitialState ?? new float[gradients.GradInitialState!.Length];
        Check("the initial state", state, gradients.GradInitialState, values => inputs with { InitialState = values });
    }

    [Theory, MemberData(nameof(Cases))]
    public void Y_is_that_of_the_scan(string name)
    {
        SelectiveScanCase row = Table.Single(row => row.Name == name);
        Assert.Equal(
            SelectiveScanOracle.Run<double>(row.Inputs()).Y, SelectiveScanBackwardOracle.Run<double>(row.Inputs(), row.Upstream()).Y!);
    }

    private static SelectiveScanInputs Exact(SelectiveScanInputs inputs) => inputs.RoundActivations(FiniteDifferences.Exact) with
    {
        A = FiniteDifferences.Exact(inputs.A),
        B = FiniteDifferences.Exact(inputs.B),
        C = FiniteDifferences.Exact(inputs.C),
        D = inputs.D is null ? null : FiniteDifferences.Exact(inputs.D),
        DeltaBias = inputs.DeltaBias is null ? null : FiniteDifferences.Exact(inputs.DeltaBias),
        InitialState = inputs.InitialState is null ? null : FiniteDifferences.Exact(inputs.InitialState),
    };

    private static double Loss(SelectiveScanInputs inputs, SelectiveScanUpstream upstream)
    {
        SelectiveScanResult<double> result = SelectiveScanOracle.Run<double>(inputs);
        return result.Y.Zip(upstream.GradY, (y, grad) => y * grad).Sum()
            + result.FinalState.Zip(upstream.GradFinalState!, (state, grad) => state * grad).Sum();
    }
}
