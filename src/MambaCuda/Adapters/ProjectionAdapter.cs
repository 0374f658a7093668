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

/// <summary>What the updates of all projections are computed with.</summary>
/// <param name="Scale">The scale on the diagonal of a (rank, rank) matrix, Float32; none where it is 1.</param>
/// <param name="Unscaled">Room for (tokens, rank), activation type; none where the scale is 1.</param>
/// <param name="Scaled">Room for (tokens, rank), activation type.</param>
internal readonly record struct AdapterOperands(MatrixView Scale, MatrixView Unscaled, MatrixView Scaled)
{
    /// <summary>scale wide factor^T, (tokens, rank), which stays until the next.</summary>
    public MatrixView Narrow(MatrixView wide, MatrixView factor, Backend backend)
    {
        backend.LinearForward(new LinearForwardArgs { X = wide, Weight = factor, Y = Scale.IsNone ? Scaled : Unscaled });
        if (!Scale.IsNone)
        {
            // By the linear layer that there is: among so few columns a product costs no more than an operation of its own would.
            backend.LinearForward(new LinearForwardArgs { X = Unscaled, Weight = Scale, Y = Scaled });
        }

        return Scaled;
    }
}

/// <summary>The low-rank updates of one layer's projections; those that it has not are none.</summary>
internal sealed class LayerAdapters
{
    /// <summary>No update at all.</summary>
    public static LayerAdapters None { get; } = new();

    public ProjectionAdapter InProjection { get; private init; }

    public ProjectionAdapter ScanProjection { get; private init; }

    public ProjectionAdapter TimeStepProjection { get; private init; }

    public ProjectionAdapter OutProjection { get; private init; }

    /// <summary>Finds the updates of one layer by the names of their tensors.</summary>
    /// <param name="layer">Which layer.</param>
    /// <param name="factor">Gives a factor, none where there is none of that name.</param>
    public static LayerAdapters Of(int layer, Func<string, MatrixView> factor)
    {
        return new LayerAdapters
        {
            InProjection = Named("in_proj"),
            ScanProjection = Named("x_proj"),
            TimeStepProjection = Named("dt_proj"),
            OutProjection = Named("out_proj"),
        };

        ProjectionAdapter Named(string name) => new(factor(TensorNames.LoraA(layer, name)), factor(TensorNames.LoraB(layer, name)));
    }
}
