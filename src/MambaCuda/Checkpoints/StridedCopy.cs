using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>Lays out a view with arbitrary strides (a transposed matrix, a slice) row-major and without gaps.</summary>
internal static unsafe class StridedCopy
{
    /// <summary>Copies the view to new memory, which the caller owns.</summary>
    /// <param name="source">The first byte of the view's first element; the caller has checked that all others exist.</param>
    /// <param name="elementSize">1, 2, 4 or 8.</param>
    /// <param name="shape">The sizes, outermost first.</param>
    /// <param name="strides">The distance of neighbours along each dimension, in elements.</param>
    /// <param name="count">The number of elements.</param>
    public static NativeHostMemory ToContiguous(
        byte* source, int elementSize, ReadOnlySpan<long> shape, ReadOnlySpan<long> strides, long count)
    {
        NativeHostMemory memory = new(count * elementSize);
        switch (elementSize)
        {
            case 1: Copy((byte*)source, (byte*)memory.Pointer, shape, strides, count); break;
            case 2: Copy((ushort*)source, (ushort*)memory.Pointer, shape, strides, count); break;
            case 4: Copy((uint*)source, (uint*)memory.Pointer, shape, strides, count); break;
            default: Copy((ulong*)source, (ulong*)memory.Pointer, shape, strides, count); break;
        }

        return memory;
    }

    private static void Copy<T>(T* source, T* destination, ReadOnlySpan<long> shape, ReadOnlySpan<long> strides, long count)
        where T : unmanaged
    {
        // An odometer over all dimensions but the last, which is the inner loop.
        Span<long> position = stackalloc long[shape.Length];
        position.Clear();
        long inner = shape[^1], innerStride = strides[^1];
        for (long done = 0; done < count; done += inner)
        {
            for (long i = 0; i < inner; i++)
            {
                destination[done + i] = source[i * innerStride];
            }

            for (int dimension = shape.Length - 2; dimension >= 0; dimension--)
            {
                source += strides[dimension];
                if (++position[dimension] < shape[dimension])
                {
                    break;
                }

                source -= strides[dimension] * shape[dimension];
                position[dimension] = 0;
            }
        }
    }
}
