using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Makes state matrices and their gradients on a backend, guard words around every operand.</summary>
public static class StateMatrixRunner
{
    /// <summary>Gives A.</summary>
    public static float[] Forward(Backend backend, float[] logA, int channels, int gap = GuardedMatrix.UsualGap)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(logA);
        int size = logA.Length / channels;
        using GuardedMatrix input = GuardedMatrix.Input(backend, DataType.Float32, size, channels, logA, gap);
        using GuardedMatrix a = GuardedMatrix.Output(backend, DataType.Float32, size, channels, gap: gap);
        backend.StateMatrixForward(new StateMatrixForwardArgs { LogA = input.View, A = a.View });
        input.AssertUnchanged("A_log");
        a.AssertGuardsIntact("A");
        return a.Values();
    }

    /// <summary>Gives the gradient of A_log.</summary>
    public static float[] Backward(Backend backend, StateMatrixGradients inputs, int channels, int gap = GuardedMatrix.UsualGap)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(inputs);
        int size = inputs.A.Length / channels;
        using GuardedMatrix a = GuardedMatrix.Input(backend, DataType.Float32, size, channels, inputs.A, gap);
        using GuardedMatrix gradA = GuardedMatrix.Input(backend, DataType.Float32, size, channels, inputs.GradA, gap);
        using GuardedMatrix sum = GuardedMatrix.Output(backend, DataType.Float32, size, channels, inputs.GradLogA, gap);
        backend.StateMatrixBackward(new StateMatrixBackwardArgs { A = a.View, GradA = gradA.View, GradLogA = sum.View });
        a.AssertUnchanged("A");
        gradA.AssertUnchanged("gradient of A");
        sum.AssertGuardsIntact("gradient of A_log");
        return sum.Values();
    }
}
