namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.GatherRows"/>.</summary>
public readonly struct GatherRowsArgs
{
    /// <summary>The rows to choose from, (rows, columns), any type.</summary>
    public MatrixView Source { get; init; }

    /// <summary>The chosen row numbers, (chosen, 1), Int32.</summary>
    public MatrixView Indices { get; init; }

    /// <summary>The chosen rows, (chosen, columns), the type of Source.</summary>
    public MatrixView Destination { get; init; }

    /// <summary>The chosen rows are read and written.</summary>
    internal OperationWork Work => OperationWork.Of(Indices, Destination, Destination);
}

public abstract partial class Backend
{
    /// <summary>Copies chosen rows: the last token of every sequence, before the vocabulary projection.</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A row number is not in Source.</exception>
    public void GatherRows(in GatherRowsArgs args)
    {
        const string Operation = nameof(GatherRows);
        Check.Given(Operation, "source", args.Source);
        Check.Given(Operation, "indices", args.Indices);
        Check.Given(Operation, "destination", args.Destination);
        Check.Type(Operation, "indices", args.Indices, DataType.Int32);
        Check.Shape(Operation, "indices", args.Indices, args.Indices.Rows, 1);
        Check.Shape(Operation, "destination", args.Destination, args.Indices.Rows, args.Source.Columns);
        Check.Type(Operation, "destination", args.Destination, args.Source.Type);
        Trace?.BeginOperation(Operation, args.Work);
        GatherRowsCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void GatherRowsCore(in GatherRowsArgs args);
}
