using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The low-rank update of one projection, y += scale x A^T B^T, or none; and in the same shape its gradient. With u = scale x A^T and
/// v = scale grad_y B, both (tokens, rank), the gradients are those of two linear layers: of B += grad_y^T u, of A += v^T x, of x += v A.
/// </summary>
/// <param name="A">(rank, inputs).</param>
/// <param name="B">Turned: (rank, outputs).</param>
internal readonly record struct ProjectionAdapter(MatrixView A, MatrixView B)
{
    /// <summary>Adds the update of x to y.</summary>
    public void Forward(in AdapterOperands work, MatrixView x, MatrixView y, Backend backend)
    {
        if (!A.IsNone)
        {
            AddProduct(work.Narrow(x, A, backend), B, y, backend);
        }
    }

    /// <summary>Adds to the gradient of x what comes through the update.</summary>
    public void InputGradient(in AdapterOperands work, MatrixView gradY, MatrixView gradX, Backend backend)
    {
        if (!A.IsNone)
        {
            AddProduct(work.Narrow(gradY, B, backend), A, gradX, backend);
        }
    }

    /// <summary>Adds the gradients of A, of B, and where <paramref name="gradX"/> is given, of x.</summary>
    public void Gradients(
        ProjectionAdapter gradients, in AdapterOperands work, MatrixView x, MatrixView gradY, MatrixView gradX, Backend backend)
    {
        if (A.IsNone)
        {
            return;
        }

        // B is turned, and so is its gradient: u^T grad_y.
        backend.LinearBackward(new LinearBackwardArgs { X = gradY, GradY = work.Narrow(x, A, backend), GradWeight = gradients.B });
        backend.LinearBackward(new LinearBackwardArgs
        {
            X = x,
            Weight = A,
            GradY = work.Narrow(gradY, B, backend),
            GradX = gradX,
            AddToGradX = true,
            GradWeight = gradients.A,
        });
    }

    /// <summary>wide += narrow factor: what the gradient of a linear layer's input is, the factor being its weight.</summary>
    private static void AddProduct(MatrixView narrow, MatrixView factor, MatrixView wide, Backend backend) =>
        backend.LinearBackward(new LinearBackwardArgs { Weight = factor, GradY = narrow, GradX = wide, AddToGradX = true });
}
