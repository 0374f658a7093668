namespace MambaCuda.Kernels;

/// <summary>What an operation has to do at least, by its formula: what a kernel adds by its way of computing is not in it.</summary>
/// <param name="Bytes">Each operand read or written once.</param>
public readonly record struct OperationWork(long Bytes)
{
    /// <summary>Operations of matrix products, two for each multiply-add: what tensor cores can do.</summary>
    public double Products { get; init; }

    /// <summary>Other additions and multiplications in float32.</summary>
    public double Arithmetic { get; init; }

    /// <summary>Exponentials, logarithms, roots and divisions: what a card's special-function units do.</summary>
    public double Special { get; init; }

    /// <summary>Whether the bytes go between host and device.</summary>
    public bool IsTransfer { get; init; }

    /// <summary>All operations together; a special one is one.</summary>
    public double Operations => Products + Arithmetic + Special;

    /// <summary>The work of operands that are each read or written once.</summary>
    internal static OperationWork Of(params ReadOnlySpan<MatrixView> operands)
    {
        long bytes = 0;
        foreach (ref readonly MatrixView operand in operands)
        {
            bytes += operand.ByteLength;
        }

        return new OperationWork(bytes);
    }
}
