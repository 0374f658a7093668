using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>
/// The operations on an NVIDIA card, by kernels that are compiled on it at first use (compute capability 7.5 or later). One stream; operations
/// are put into it and run behind the host. Results repeat bit for bit from run to run.
/// </summary>
public sealed unsafe partial class CudaBackend : Backend
{
    private const int WarpThreads = 32;

    /// <summary>Blocks of a cluster, as many as any card with clusters can have.</summary>
    private const int MostClusterBlocks = 8;

    private readonly CudaBackendOptions _options;
    private readonly KernelLibrary _library;
    private readonly SequenceTables _sequenceTables;
    private readonly ScratchMemory _scratch;
    private readonly FaultReport _faults;

    // Cards can start a kernel early from compute capability 9.0 on, and graphs that are captured keep it so from CUDA 12.3 on.
    private readonly bool _canOverlap;
    private bool _disposed;

    /// <summary>Opens a device.</summary>
    /// <param name="options">What to choose; null for everything as usual.</param>
    /// <exception cref="CudaUnavailableException">There is no GPU, or its driver, NVRTC or the card itself is too old; the message says what to do.</exception>
    /// <exception cref="MissingLibraryException">NVRTC is not there; the message says what was tried and how to get it.</exception>
    /// <exception cref="InsufficientMemoryException">Others have left no memory; the message says what to do.</exception>
    public CudaBackend(CudaBackendOptions? options = null)
    {
        _options = options ?? new CudaBackendOptions();
        CudaDevice device = CudaDevice.Get(_options.Device);
        if (WhyTooOld(device) is { } problem)
        {
            throw new CudaUnavailableException(problem);
        }

        KernelCompiler compiler = new(RuntimeCompiler.Load(), _options.KernelCache ?? KernelCache.OfUser);
        ActivationType = _options.ActivationType ?? (device.ComputeCapability.Major >= 8 ? DataType.BFloat16 : DataType.Float16);
        if (!ActivationType.IsWeightType())
        {
            throw new ArgumentException($"Activations cannot be {ActivationType}; they are BFloat16, Float16 or Float32.", nameof(options));
        }

        Context = device.RetainPrimaryContext();
        try
        {
            Stream = Context.CreateStream();
            _faults = new FaultReport(this);
        }
        catch
        {
            Stream?.Dispose();
            Context.Dispose();
            throw;
        }

        _canOverlap = Context.Device.ComputeCapability >= new ComputeCapability(9, 0) && !(CudaDriver.Version < new CudaVersion(12, 3));
        _library = new KernelLibrary(Context, compiler, _options.Cubins ?? CubinFolder.OfApplication);
        _sequenceTables = new SequenceTables(this);
        _scratch = new ScratchMemory(this);
    }

    /// <summary>The oldest card that kernels are written for.</summary>
    public static ComputeCapability OldestCapability { get; } = new(7, 5);

    /// <inheritdoc/>
    public override string Name => "cuda";

    /// <inheritdoc/>
    public override string Description =>
        $"{Context.Device.Name}, compute capability {Context.Device.ComputeCapability}, {Context.Device.TotalMemory / (1L << 30)} GiB, {ActivationType} activations";

    /// <inheritdoc/>
    public override bool CanTrain => true;

    /// <inheritdoc/>
    public override DataType ActivationType { get; }

    /// <summary>16,384: with fewer, kernels of small models end before the next can be started.</summary>
    public override int PreferredChunkTokens => 16_384;

    /// <inheritdoc/>
    public override long? AvailableMemory => Context.Memory.FreeBytes;

    /// <summary>How often device memory was allocated so far. It no longer grows once every size of pass has been seen.</summary>
    public int AllocationCount { get; private set; }

    /// <inheritdoc/>
    public override DataType WeightTypeFor(DataType stored) => ActivationType == DataType.Float32 ? stored : ActivationType;

    /// <summary>
    /// Told of every kernel that operations put into the stream, for whoever wants to know which variant a shape takes. Null, as at first,
    /// costs nothing.
    /// </summary>
    public Action<KernelLaunch>? OnLaunch { get; set; }

    /// <summary>The context that everything lies in.</summary>
    public CudaContext Context { get; }

    /// <summary>The stream that operations are put into.</summary>
    public CudaStream Stream { get; }

    /// <inheritdoc/>
    public override DeviceBuffer Allocate(long byteLength)
    {
        DeviceMemory memory = AllocateMemory(byteLength);
        Stream.Clear(memory);
        return new CudaBuffer(this, memory);
    }

    /// <inheritdoc/>
    public override DeviceBuffer Import(HostMemory memory, long byteOffset, long byteLength)
    {
        ArgumentNullException.ThrowIfNull(memory);
        memory.CheckRange(byteOffset, byteLength);
        DeviceMemory copy = AllocateMemory(byteLength);
        try
        {
            Stream.Upload((nint)(memory.Pointer + byteOffset), copy);
            return new CudaBuffer(this, copy);
        }
        catch
        {
            copy.Dispose();
            throw;
        }
    }

    /// <summary>Uses device memory that something else owns; it must outlive the buffer and lie in <see cref="Context"/>.</summary>
    /// <param name="address">The device address.</param>
    /// <param name="byteLength">The length in bytes.</param>
    public DeviceBuffer Adopt(nint address, long byteLength) => new CudaBuffer(this, DeviceMemory.Adopt(Context, address, byteLength));

    /// <inheritdoc/>
    public override void Synchronize()
    {
        Stream.Synchronize();
        _faults.ThrowIfAny();
    }

    /// <inheritdoc/>
    public override HostCopy CreateHostCopy(int byteLength) => new CudaHostCopy(this, byteLength);

    /// <inheritdoc/>
    public override void Clear(MatrixView destination)
    {
        if (destination.IsNone)
        {
            return;
        }

        Trace?.BeginOperation(nameof(Clear), OperationWork.Of(destination));
        if (destination.IsContiguous)
        {
            Stream.Clear(Bytes(destination));
        }
        else
        {
            for (long row = 0; row < destination.Rows; row++)
            {
                Stream.Clear(Bytes(destination.RowRange(row, 1)));
            }
        }

        Trace?.EndOperation();
    }

    /// <inheritdoc/>
    protected override void UploadCore(ReadOnlySpan<byte> source, MatrixView destination) => Stream.Upload(source, Bytes(destination));

    /// <inheritdoc/>
    protected override void DownloadCore(MatrixView source, Span<byte> destination)
    {
        Stream.Download(Bytes(source), destination);
        _faults.ThrowIfAny();
    }

    /// <summary>Copies a view without gaps to pinned memory of its length, without waiting.</summary>
    internal void CopyOut(in MatrixView source, PinnedMemory destination) => Stream.Copy(Bytes(source), destination);

    /// <summary>Throws what kernels reported that the host has waited for.</summary>
    internal void ThrowIfFault() => _faults.ThrowIfAny();

    /// <inheritdoc/>
    protected override void CopyCore(MatrixView source, MatrixView destination)
    {
        if (source.IsContiguous && destination.IsContiguous)
        {
            Stream.Copy(Bytes(source), Bytes(destination));
            return;
        }

        for (long row = 0; row < source.Rows; row++)
        {
            Stream.Copy(Bytes(source.RowRange(row, 1)), Bytes(destination.RowRange(row, 1)));
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _faults.Dispose();
        DisposeLinear();
        _scratch.Dispose();
        _sequenceTables.Dispose();
        _library.Dispose();
        Stream.Dispose();
        Context.Dispose();
    }

    /// <summary>Device memory that is not cleared; out of memory is told as the base class promises.</summary>
    internal DeviceMemory AllocateMemory(long byteLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        try
        {
            DeviceMemory memory = Context.Allocate(byteLength);
            AllocationCount++;
            return memory;
        }
        catch (DeviceOutOfMemoryException exception)
        {
            throw new InsufficientMemoryException(exception.Message, exception);
        }
    }

    /// <summary>Memory of the host that the device writes; out of memory is told as for that of the device.</summary>
    internal PinnedMemory AllocatePinned(long byteLength)
    {
        try
        {
            return Context.AllocatePinned(byteLength);
        }
        catch (DeviceOutOfMemoryException exception)
        {
            throw new InsufficientMemoryException(
                $"{exception.Message} End what holds the host's pinned memory or the card's, allow more (ulimit -l), or use the CPU.", exception);
        }
    }

    /// <summary>
    /// Puts a kernel that takes one struct into the stream; the pieces are for <see cref="OnLaunch"/> alone. One that overlaps waits in its
    /// code for those before it, see mamba/grid_dependency.cuh; where blocks wait for each other, all of them run at once. So many blocks along
    /// x form a cluster, see mamba/cluster.cuh.
    /// </summary>
    private void Launch<T>(
        CudaKernel kernel, Dim3 grid, Dim3 block, in T parameters, int dynamicSharedBytes = 0, int pieces = 1, bool overlaps = false,
        bool waitForEachOther = false, int cluster = 1)
        where T : unmanaged
    {
        kernel.Launch(
            Stream,
            new LaunchConfiguration(grid, block, dynamicSharedBytes)
            {
                ProgrammaticStreamSerialization = overlaps && _canOverlap,
                Cooperative = waitForEachOther,
                Cluster = cluster > 1 ? new Dim3(cluster) : null,
            },
            parameters);
        if (OnLaunch is { } tell)
        {
            (string expression, string variant) = _library.NameOf(kernel);
            tell(new KernelLaunch(variant, expression, grid, block, pieces));
        }
    }

    /// <summary>The address of the first element, or 0 for "none".</summary>
    private nint Address(in MatrixView view) => view.IsNone ? 0 : checked((nint)(MemoryOf(view).Address + view.ByteOffset));

    /// <summary>The bytes of a view without gaps.</summary>
    private DeviceSpan Bytes(in MatrixView view) => MemoryOf(view).Slice(view.ByteOffset, view.Rows * view.Columns * view.Type.Size());

    private DeviceMemory MemoryOf(in MatrixView view) => view.Buffer is CudaBuffer buffer && buffer.Backend == this
        ? buffer.Memory
        : throw new ArgumentException($"The view lies on another backend ({view.Buffer?.Backend.Name}); this one cannot read it. Copy it through the host first.");

    /// <summary>
    /// Whether every row of every given view starts at a multiple of <paramref name="bytes"/>, so that rows can be read in vectors of
    /// that size; views that are "none" do not matter.
    /// </summary>
    private bool AreAligned(int bytes, params ReadOnlySpan<MatrixView> views)
    {
        foreach (ref readonly MatrixView view in views)
        {
            if (!view.IsNone && ((Address(view) | (nint)(view.Rows > 1 ? view.RowStride * view.Type.Size() : 0)) & (bytes - 1)) != 0)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether each of the views, which have no gaps, starts at such a multiple: it can be read as one long row.</summary>
    private bool IsAligned(int bytes, params ReadOnlySpan<MatrixView> views)
    {
        foreach (ref readonly MatrixView view in views)
        {
            if ((Address(view) & (bytes - 1)) != 0)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The type's name in device code.</summary>
    internal static string TypeName(DataType type) => type switch
    {
        DataType.Float32 => "float",
        DataType.BFloat16 => "mamba::bf16",
        DataType.Float16 => "mamba::fp16",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Kernels compute on no such type."),
    };

    internal static int DivideUp(int value, int divisor) => ((value - 1) / divisor) + 1;

    internal static long DivideUp(long value, long divisor) => ((value - 1) / divisor) + 1;

    private static int RoundUp(int value, int multiple) => DivideUp(value, multiple) * multiple;

    private static string Word(bool value) => value ? "true" : "false";

    /// <summary>How a variant tells that its rows are read in vectors.</summary>
    private static string Placed(bool aligned) => aligned ? " aligned" : "";
}
