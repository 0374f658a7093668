namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void GatherRowsCore(in GatherRowsArgs args)
    {
        long rowBytes = (long)args.Source.Columns * args.Source.Type.Size();
        for (long i = 0; i < args.Indices.Rows; i++)
        {
            int index = Integers(args.Indices)[i * args.Indices.RowStride];
            if (index < 0 || index >= args.Source.Rows)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(args), index, $"Row {i} of the destination asks for a row outside {args.Source}.");
            }

            Buffer.MemoryCopy(Row(args.Source, index), Row(args.Destination, i), rowBytes, rowBytes);
        }
    }
}
