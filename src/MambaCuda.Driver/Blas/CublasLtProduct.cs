namespace MambaCuda.Driver;

/// <summary>A chosen way to compute one product, made by <see cref="CublasLt.Choose"/>; used as often as one likes.</summary>
public sealed unsafe class CublasLtProduct : IDisposable
{
    private readonly CublasLt _library;
    private nint _description;
    private nint _xLayout;
    private nint _weightLayout;
    private nint _yLayout;
    private CublasLtAlgorithm _algorithm;
    private int _disposed;

    private CublasLtProduct(CublasLt library, in RowProduct product)
    {
        _library = library;
        Product = product;
    }

    /// <summary>The product.</summary>
    public RowProduct Product { get; }

    /// <summary>How much memory <see cref="Run"/> needs beside its operands.</summary>
    public long WorkspaceBytes { get; private set; }

    /// <summary>Puts the product into a stream. The addresses are as aligned as <see cref="RowProduct.Alignment"/> promised.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="x">x's first element.</param>
    /// <param name="weight">The weight's first element.</param>
    /// <param name="y">y's first element.</param>
    /// <param name="workspace">Memory of <see cref="WorkspaceBytes"/> or more, at a multiple of 256 bytes, that no other stream uses
    /// meanwhile.</param>
    /// <exception cref="CublasException">The library refuses. Errors of its kernels come out later, when the stream is waited
    /// for.</exception>
    public void Run(CudaStream stream, nint x, nint weight, nint y, nint workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        float one = 1, share = Product.Accumulate ? 1 : 0;
        using CudaContextScope scope = stream.Context.Activate();
        fixed (CublasLtAlgorithm* algorithm = &_algorithm)
        {
            int status = CublasLtApi.cublasLtMatmul(
                _library.Handle, _description, &one, weight, _weightLayout, x, _xLayout, &share, y, _yLayout, y, _yLayout,
                algorithm, workspace, (nuint)WorkspaceBytes, stream.Handle);
            if (status != 0)
            {
                throw new CublasException(status, $"launching a product of {Product}");
            }
        }
    }

    /// <summary>Gives the descriptions back; it may still be running. A second call does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        // These are host memory alone: no context is needed.
        Destroy(ref _yLayout, CublasLtApi.cublasLtMatrixLayoutDestroy);
        Destroy(ref _weightLayout, CublasLtApi.cublasLtMatrixLayoutDestroy);
        Destroy(ref _xLayout, CublasLtApi.cublasLtMatrixLayoutDestroy);
        Destroy(ref _description, CublasLtApi.cublasLtMatmulDescDestroy);
    }

    internal static CublasLtProduct? Create(CublasLt library, in RowProduct product, long workspaceBytes)
    {
        CublasLtProduct made = new(library, product);
        try
        {
            made.Describe();
            if (made.Choose(workspaceBytes))
            {
                return made;
            }

            made.Dispose();
            return null;
        }
        catch
        {
            made.Dispose();
            throw;
        }
    }

    // The library thinks in columns: stored by rows, x is its (inputs x rows), the weight its (inputs x outputs), to be transposed, and y
    // its (outputs x rows) = weight^T x. What is stored transposed here is the other way round there.
    private void Describe()
    {
        RowProduct p = Product;
        string action = $"describing a product of {p}";
        CublasException.ThrowIfFailed(
            CublasLtApi.cublasLtMatmulDescCreate(out _description, CublasComputeType.Float32, CublasDataType.Float32), action);
        TransposeIf(!p.WeightIsTransposed, CublasLtMatmulAttribute.TransposeA);
        TransposeIf(p.XIsTransposed, CublasLtMatmulAttribute.TransposeB);
        (long xRows, long xColumns) = p.XIsTransposed ? (p.Rows, p.Inputs) : (p.Inputs, p.Rows);
        (long weightRows, long weightColumns) = p.WeightIsTransposed ? (p.Outputs, p.Inputs) : (p.Inputs, p.Outputs);
        _xLayout = Layout(p.Operands, xRows, xColumns, p.XStride, action);
        _weightLayout = Layout(p.Operands, weightRows, weightColumns, p.WeightStride, action);
        _yLayout = Layout(p.Result, p.Outputs, p.Rows, p.YStride, action);

        void TransposeIf(bool condition, CublasLtMatmulAttribute operand)
        {
            if (condition)
            {
                int transpose = 1;
                CublasException.ThrowIfFailed(
                    CublasLtApi.cublasLtMatmulDescSetAttribute(_description, operand, &transpose, sizeof(int)), action);
            }
        }
    }

    private static nint Layout(MatrixElement type, long rows, long columns, long stride, string action)
    {
        CublasException.ThrowIfFailed(
            CublasLtApi.cublasLtMatrixLayoutCreate(out nint layout, TypeOf(type), (ulong)rows, (ulong)columns, stride), action);
        return layout;
    }

    private bool Choose(long workspaceBytes)
    {
        string action = $"choosing how to compute a product of {Product}";
        CublasException.ThrowIfFailed(CublasLtApi.cublasLtMatmulPreferenceCreate(out nint preference), action);
        try
        {
            // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: parts go to the workspace in float32 and are added in a step of their own. In place
            // they would be rounded to y's type.
            const uint InFloat32 = 2;
            ulong workspace = (ulong)workspaceBytes;
            uint schemes = InFloat32;
            uint alignment = (uint)Math.Max(Product.Alignment, 1);
            Set(CublasLtPreferenceAttribute.MaxWorkspaceBytes, &workspace, sizeof(ulong));
            Set(CublasLtPreferenceAttribute.ReductionSchemeMask, &schemes, sizeof(uint));
            Set(CublasLtPreferenceAttribute.MinAlignmentOfA, &alignment, sizeof(uint));
            Set(CublasLtPreferenceAttribute.MinAlignmentOfB, &alignment, sizeof(uint));
            Set(CublasLtPreferenceAttribute.MinAlignmentOfC, &alignment, sizeof(uint));
            Set(CublasLtPreferenceAttribute.MinAlignmentOfD, &alignment, sizeof(uint));

            const int NotSupported = 15;
            CublasLtHeuristic best = default;
            int status = CublasLtApi.cublasLtMatmulAlgoGetHeuristic(
                _library.Handle, _description, _weightLayout, _xLayout, _yLayout, _yLayout, preference, 1, &best, out int found);
            if (status == NotSupported || (status == 0 && (found < 1 || best.State != 0)))
            {
                return false;
            }

            CublasException.ThrowIfFailed(status, action);
            _algorithm = best.Algorithm;
            WorkspaceBytes = (long)best.WorkspaceBytes;
            return true;
        }
        finally
        {
            _ = CublasLtApi.cublasLtMatmulPreferenceDestroy(preference);
        }

        void Set(CublasLtPreferenceAttribute attribute, void* value, int bytes) => CublasException.ThrowIfFailed(
            CublasLtApi.cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, (nuint)bytes), action);
    }

    private static CublasDataType TypeOf(MatrixElement element) => element switch
    {
        MatrixElement.Float32 => CublasDataType.Float32,
        MatrixElement.Float16 => CublasDataType.Float16,
        MatrixElement.BFloat16 => CublasDataType.BFloat16,
        _ => throw new ArgumentOutOfRangeException(nameof(element), element, "Not an element type."),
    };

    private static void Destroy(ref nint handle, Func<nint, int> destroy)
    {
        if (handle != 0)
        {
            _ = destroy(handle);
            handle = 0;
        }
    }
}
