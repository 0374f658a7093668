namespace MambaCuda.Kernels;

/// <remarks>
/// Both gradients are the product of the forward pass over other operands: of x with the weight transposed, of the weight with grad_y and x
/// transposed, its "inputs" being the tokens. Transposing takes rows + columns where the product takes rows x columns, so operands are
/// transposed into scratch, widened on the way, and the kernel is the forward's. Long sums are cut into panels, which are added in order:
/// scratch stays bounded, and a panel's rows fit the caches.
/// </remarks>
public sealed unsafe partial class CpuBackend
{
    /// <summary>Terms of a sum that are added at once.</summary>
    private const int PanelTerms = 1024;

    /// <summary>The scratch of a panel.</summary>
    private const long PanelBytes = 64L << 20;

    private const int CacheLineFloats = 16;

    /// <inheritdoc/>
    protected override void LinearBackwardCore(in LinearBackwardArgs args)
    {
        if (!args.GradX.IsNone)
        {
            InputGradient(args);
        }

        if (!args.GradWeight.IsNone)
        {
            WeightGradient(args);
        }

        if (!args.GradBias.IsNone)
        {
            ColumnSums body = new(Rows(args.GradY), args.GradY.Rows, args.GradY.Columns, Floats(args.GradBias));
            _pool.Run(ref body, body.Parts);
        }
    }

    private void InputGradient(in LinearBackwardArgs args)
    {
        int outputs = args.GradY.Columns, inputs = args.GradX.Columns;
        if (args.GradX.Rows == 0 || inputs == 0)
        {
            return;
        }

        if (outputs == 0 && !args.AddToGradX)
        {
            Clear(args.GradX);
        }

        // The number of rows has no say in the panels: a row's gradient does not depend on its batch.
        int perPanel = PanelLength(outputs, inputs);
        for (int first = 0; first < outputs; first += perPanel)
        {
            int count = Math.Min(perPanel, outputs - first);
            MatrixView weight = TransposedScratch(inputs, count, inputs, 0);
            Transpose(args.Weight.RowRange(first, count), weight);
            Multiply(
                new LinearForwardArgs { X = args.GradY.ColumnRange(first, count), Weight = weight, Y = args.GradX },
                accumulate: args.AddToGradX || first > 0);
        }
    }

    private void WeightGradient(in LinearBackwardArgs args)
    {
        int outputs = args.GradY.Columns, inputs = args.GradWeight.Columns;
        if (outputs == 0 || inputs == 0)
        {
            return;
        }

        long rows = args.GradY.Rows;
        if (rows == 0 && args.OverwritesGradWeight)
        {
            Clear(args.GradWeight);
        }

        int perPanel = PanelLength(rows, (long)outputs + inputs);
        for (long first = 0; first < rows; first += perPanel)
        {
            int count = (int)Math.Min(perPanel, rows - first);
            MatrixView gradY = TransposedScratch(outputs, count, (long)outputs + inputs, 0);
            MatrixView x = TransposedScratch(inputs, count, (long)outputs + inputs, outputs);
            Transpose(args.GradY.RowRange(first, count), gradY);
            Transpose(args.X.RowRange(first, count), x);
            Multiply(
                new LinearForwardArgs { X = gradY, Weight = x, Y = args.GradWeight },
                accumulate: !args.OverwritesGradWeight || first > 0);
        }
    }

    /// <summary>How many of a sum's terms a panel has, of all panels alike, where each takes a column of scratch.</summary>
    private static int PanelLength(long terms, long columnHeight)
    {
        long most = Math.Clamp(PanelBytes / (sizeof(float) * columnHeight), CacheLineFloats, PanelTerms);
        long panels = Math.Max(1, (terms + most - 1) / most);
        return (int)((terms + panels - 1) / panels + CacheLineFloats - 1) / CacheLineFloats * CacheLineFloats;
    }

    /// <summary>
    /// Rows of scratch, <paramref name="firstRow"/> being the first, an odd number of cache lines apart: rows a power of two apart would all
    /// meet in the same sets of the cache.
    /// </summary>
    private MatrixView TransposedScratch(int rows, int columns, long allRows, long firstRow)
    {
        long stride = (((columns + CacheLineFloats - 1) / CacheLineFloats) | 1) * CacheLineFloats;
        HostBuffer scratch = Scratch(allRows * stride * sizeof(float));
        return new MatrixView(scratch, firstRow * stride * sizeof(float), DataType.Float32, rows, columns, stride);
    }

    private void Transpose(MatrixView source, MatrixView destination)
    {
        int perPart = ((int)ItemsPerPart(source.Columns, minimum: 32) + CacheLineFloats - 1) / CacheLineFloats * CacheLineFloats;
        TransposeBody body = new(source, destination, perPart);
        _pool.Run(ref body, Parts(source.Columns, perPart));
    }

    /// <summary>A part is a block of the source's columns.</summary>
    private readonly struct TransposeBody(MatrixView source, MatrixView destination, int columnsPerPart) : IParallelBody, IStoredBody
    {
        public void Run(int part) => StoredFloats.Run(source.Type, this, part);

        public void Run<TStored>(int part) where TStored : struct, IStoredFloat
        {
            int first = part * columnsPerPart;
            Transposition.Run<TStored>(
                Pointer(source) + ((long)first * TStored.Size), source.RowStride * TStored.Size, (int)source.Rows,
                Math.Min(columnsPerPart, source.Columns - first), (float*)CpuBackend.Row(destination, first), destination.RowStride);
        }
    }
}
