using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

/// <summary>
/// A device and the operations of Mamba on it. Each operation is one file under <c>Operations</c>: its arguments, the checks that
/// every backend shares, and beside it the code of each backend. The model is written once, over this class.
/// Operations run in the order in which they are called; results are read by <see cref="Download{T}"/>, which waits for them.
/// An instance serves one thread at a time.
/// </summary>
public abstract partial class Backend : IDisposable
{
    /// <summary>The name by which users choose it: "cpu" or "cuda".</summary>
    public abstract string Name { get; }

    /// <summary>What it runs on, for people: processor or card, and how much of it.</summary>
    public abstract string Description { get; }

    /// <summary>The type of activations. Residual stream, recurrent states and accumulation are float32 in every backend.</summary>
    public abstract DataType ActivationType { get; }

    /// <summary>
    /// How many tokens a model best runs through at once where memory allows: enough to keep the device busy, and no more, since
    /// activations grow with it.
    /// </summary>
    public abstract int PreferredChunkTokens { get; }

    /// <summary>How many bytes can still be allocated; null where only trying tells.</summary>
    public virtual long? AvailableMemory => null;

    /// <summary>Whether it has the operations that training takes: those of the backward pass, the loss and the optimizer.</summary>
    public virtual bool CanTrain => false;

    /// <summary>Whether it can <see cref="Capture"/> operations.</summary>
    public virtual bool CanCapture => false;

    /// <summary>
    /// Told of every operation, and by models of their layers, while it is there. Null, as at first, costs nothing.
    /// </summary>
    public IOperationTrace? Trace { get; set; }

    /// <summary>Writes operations down instead of running them, to run them again and again at the cost of one call.</summary>
    /// <param name="operations">
    /// Calls operations that have run before on the same shapes, so that nothing must be compiled or allocated; uploads, downloads and waits
    /// are not among them. What changes from run to run is read from device memory. Called again where another thread has spoiled the
    /// capture, as it does by waiting for the whole device.
    /// </param>
    /// <exception cref="NotSupportedException">The backend cannot.</exception>
    public virtual CapturedOperations Capture(Action operations) =>
        throw new NotSupportedException($"The {Name} backend does not capture operations; call them.");

    /// <summary>The type that a matrix of weights must have on the device to be multiplied with activations.</summary>
    /// <param name="stored">The type that it is stored in.</param>
    public virtual DataType WeightTypeFor(DataType stored) => stored;

    /// <summary>Allocates zeroed device memory.</summary>
    /// <exception cref="OutOfMemoryException">There is not that much; the message says how much was asked for.</exception>
    public abstract DeviceBuffer Allocate(long byteLength);

    /// <summary>
    /// Makes a part of host memory available on the device: without a copy where the device can read it in place,
    /// else copied. The host memory must outlive the buffer. The buffer is for reading only.
    /// </summary>
    /// <param name="memory">The host memory, for instance a mapped checkpoint.</param>
    /// <param name="byteOffset">Its first byte.</param>
    /// <param name="byteLength">The number of bytes.</param>
    public abstract DeviceBuffer Import(HostMemory memory, long byteOffset, long byteLength);

    /// <summary>Waits until all operations called so far are done.</summary>
    public abstract void Synchronize();

    /// <summary>
    /// Copies from the host into the rows of <paramref name="destination"/>, which must have no gaps.
    /// <typeparamref name="T"/> is as large as an element, or is byte for the bytes as they are.
    /// </summary>
    /// <exception cref="ShapeException">The number or size of elements differs, or there are gaps.</exception>
    public void Upload<T>(ReadOnlySpan<T> source, MatrixView destination) where T : unmanaged
    {
        CheckTransfer<T>(nameof(Upload), source.Length, destination);
        Trace?.BeginOperation(nameof(Upload), new OperationWork(destination.ByteLength) { IsTransfer = true });
        UploadCore(MemoryMarshal.AsBytes(source), destination);
        Trace?.EndOperation();
    }

    /// <summary>
    /// Copies the rows of <paramref name="source"/>, which must have no gaps, to the host, after all operations called so far.
    /// <typeparamref name="T"/> is as large as an element, or is byte for the bytes as they are.
    /// </summary>
    /// <exception cref="ShapeException">The number or size of elements differs, or there are gaps.</exception>
    public void Download<T>(MatrixView source, Span<T> destination) where T : unmanaged
    {
        CheckTransfer<T>(nameof(Download), destination.Length, source);
        Trace?.BeginOperation(nameof(Download), new OperationWork(source.ByteLength) { IsTransfer = true });
        DownloadCore(source, MemoryMarshal.AsBytes(destination));
        Trace?.EndOperation();
    }

    /// <summary>Makes room on the host for results of so many bytes that are to be fetched while the device goes on.</summary>
    /// <exception cref="OutOfMemoryException">There is not that much.</exception>
    public abstract HostCopy CreateHostCopy(int byteLength);

    /// <summary>Sets every element of the view to zero.</summary>
    public abstract void Clear(MatrixView destination);

    /// <summary>Copies a matrix to another of the same shape and type.</summary>
    public void Copy(MatrixView source, MatrixView destination)
    {
        Check.Same(nameof(Copy), "source", source, "destination", destination);
        Trace?.BeginOperation(nameof(Copy), OperationWork.Of(source, destination));
        CopyCore(source, destination);
        Trace?.EndOperation();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Copies bytes to a view that is known to have no gaps and the right length.</summary>
    protected abstract void UploadCore(ReadOnlySpan<byte> source, MatrixView destination);

    /// <summary>Copies bytes from a view that is known to have no gaps and the right length.</summary>
    protected abstract void DownloadCore(MatrixView source, Span<byte> destination);

    /// <summary>Copies between views that are known to be of one shape and type.</summary>
    protected abstract void CopyCore(MatrixView source, MatrixView destination);

    /// <summary>Gives back what the backend owns. Buffers that others allocated are theirs to give back, before.</summary>
    protected abstract void Dispose(bool disposing);

    private NotSupportedException CannotTrain(string operation) =>
        new($"The {Name} backend has no {operation}: it runs models but does not train them. Train on the cpu backend.");

    private static void CheckTransfer<T>(string operation, int length, MatrixView view) where T : unmanaged
    {
        Check.Given(operation, "view", view);
        // Not Marshal.SizeOf, which is what a foreign function would see: one byte for a char.
        int size = Unsafe.SizeOf<T>();
        bool isElement = size == view.Type.Size() || typeof(T) == typeof(byte);
        if (!view.IsContiguous || !isElement || (long)length * size != view.Rows * view.Columns * view.Type.Size())
        {
            ShapeException.Throw(operation, $"{length} elements of {typeof(T).Name} do not fit {view} (row stride {view.RowStride})");
        }
    }
}
