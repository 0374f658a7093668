using System.Numerics;
using System.Runtime.Intrinsics;

namespace MambaCuda.Kernels;

/// <summary>
/// The operations on the processor: float32 activations, weights read as stored, vectors of whatever width the processor has, all cores.
/// Every result is independent of the number of threads and of what else is in the batch, bit for bit.
/// </summary>
public sealed unsafe partial class CpuBackend : Backend
{
    private readonly WorkerPool _pool;

    /// <summary>Creates a backend with its own threads.</summary>
    /// <param name="threads">How many threads compute, the caller's included; 0 for one a processor.</param>
    public CpuBackend(int threads = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        _pool = new WorkerPool(threads == 0 ? Environment.ProcessorCount : threads);
    }

    /// <inheritdoc/>
    public override string Name => "cpu";

    /// <inheritdoc/>
    public override string Description =>
        $"{_pool.Threads} {(_pool.Threads == 1 ? "thread" : "threads")}, "
        + $"{(Vector512.IsHardwareAccelerated ? 512 : 8 * Vector<byte>.Count)}-bit vectors";

    /// <summary>How many threads compute.</summary>
    public int Threads => _pool.Threads;

    /// <inheritdoc/>
    public override DataType ActivationType => DataType.Float32;

    /// <inheritdoc/>
    public override int PreferredChunkTokens => 512;

    /// <inheritdoc/>
    public override HostCopy CreateHostCopy(int byteLength) => new CpuHostCopy(this, byteLength);

    /// <inheritdoc/>
    public override bool CanTrain => true;

    /// <inheritdoc/>
    public override DeviceBuffer Allocate(long byteLength) =>
        new HostBuffer(this, new NativeHostMemory(byteLength), 0, byteLength, owned: true);

    /// <inheritdoc/>
    public override DeviceBuffer Import(HostMemory memory, long byteOffset, long byteLength) =>
        new HostBuffer(this, memory, byteOffset, byteLength, owned: false);

    /// <inheritdoc/>
    public override void Synchronize()
    {
    }

    /// <inheritdoc/>
    public override void Clear(MatrixView destination)
    {
        Trace?.BeginOperation(nameof(Clear), OperationWork.Of(destination));
        long rowBytes = (long)destination.Columns * destination.Type.Size();
        for (long row = 0; row < destination.Rows; row++)
        {
            System.Runtime.InteropServices.NativeMemory.Clear(Row(destination, row), (nuint)rowBytes);
        }

        Trace?.EndOperation();
    }

    /// <inheritdoc/>
    protected override void UploadCore(ReadOnlySpan<byte> source, MatrixView destination) =>
        source.CopyTo(new Span<byte>(Pointer(destination), source.Length));

    /// <inheritdoc/>
    protected override void DownloadCore(MatrixView source, Span<byte> destination) =>
        new ReadOnlySpan<byte>(Pointer(source), destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    protected override void CopyCore(MatrixView source, MatrixView destination)
    {
        long rowBytes = (long)source.Columns * source.Type.Size();
        for (long row = 0; row < source.Rows; row++)
        {
            Buffer.MemoryCopy(Row(source, row), Row(destination, row), rowBytes, rowBytes);
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        _pool.Dispose();
        _scratch?.Dispose();
        _scratch = null;
    }

    /// <summary>The first element, or null for "none".</summary>
    private static byte* Pointer(in MatrixView view) => view.Buffer switch
    {
        null => null,
        HostBuffer buffer => buffer.Pointer + view.ByteOffset,
        _ => throw new ArgumentException(
            $"The view lies on the {view.Buffer.Backend.Name} backend; the cpu backend cannot read it. Copy it through the host first."),
    };

    private static byte* Row(in MatrixView view, long row) => Pointer(view) + (row * view.RowStride * view.Type.Size());

    private static float* Floats(in MatrixView view) => (float*)Pointer(view);

    private static FloatRows Rows(in MatrixView view) => new(Floats(view), view.RowStride);

    private static int* Integers(in MatrixView view) => (int*)Pointer(view);

    /// <summary>
    /// Cuts <paramref name="items"/> into parts of at least <paramref name="minimum"/>, a few for each thread so that a slow core gets
    /// fewer.
    /// </summary>
    private long ItemsPerPart(long items, long minimum, int partsPerThread = 4) =>
        Math.Max(minimum, (items + ((long)_pool.Threads * partsPerThread) - 1) / ((long)_pool.Threads * partsPerThread));

    private static int Parts(long items, long perPart) => checked((int)((items + perPart - 1) / perPart));
}
