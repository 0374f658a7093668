namespace MambaCuda.Driver;

/// <summary>
/// What a function of the CUDA driver answered (CUresult). Values that are not named here occur too; their name and text
/// stand in <see cref="CudaException"/>.
/// </summary>
public enum CudaError
{
    /// <summary>CUDA_SUCCESS.</summary>
    Success = 0,

    /// <summary>CUDA_ERROR_INVALID_VALUE.</summary>
    InvalidValue = 1,

    /// <summary>CUDA_ERROR_OUT_OF_MEMORY.</summary>
    OutOfMemory = 2,

    /// <summary>CUDA_ERROR_NOT_INITIALIZED.</summary>
    NotInitialized = 3,

    /// <summary>CUDA_ERROR_DEINITIALIZED: the driver is shutting down.</summary>
    Deinitialized = 4,

    /// <summary>CUDA_ERROR_STUB_LIBRARY: libcuda is the toolkit's stub for linking, not the driver.</summary>
    StubLibrary = 34,

    /// <summary>CUDA_ERROR_NO_DEVICE.</summary>
    NoDevice = 100,

    /// <summary>CUDA_ERROR_INVALID_DEVICE.</summary>
    InvalidDevice = 101,

    /// <summary>CUDA_ERROR_INVALID_IMAGE: not a cubin or PTX that the driver can read.</summary>
    InvalidImage = 200,

    /// <summary>CUDA_ERROR_INVALID_CONTEXT.</summary>
    InvalidContext = 201,

    /// <summary>CUDA_ERROR_NO_BINARY_FOR_GPU: the cubin is for another architecture.</summary>
    NoBinaryForGpu = 209,

    /// <summary>CUDA_ERROR_INVALID_PTX.</summary>
    InvalidPtx = 218,

    /// <summary>CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the PTX was written by a toolkit newer than the driver.</summary>
    UnsupportedPtxVersion = 222,

    /// <summary>CUDA_ERROR_INVALID_SOURCE: the cubin was written by a toolkit that the driver does not know.</summary>
    InvalidSource = 300,

    /// <summary>CUDA_ERROR_INVALID_HANDLE.</summary>
    InvalidHandle = 400,

    /// <summary>CUDA_ERROR_NOT_FOUND: no such kernel or global in the module.</summary>
    NotFound = 500,

    /// <summary>CUDA_ERROR_NOT_READY: not an error, work is still under way.</summary>
    NotReady = 600,

    /// <summary>CUDA_ERROR_ILLEGAL_ADDRESS: a kernel touched memory that is not its; the context is lost.</summary>
    IllegalAddress = 700,

    /// <summary>CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many threads or registers in a block.</summary>
    LaunchOutOfResources = 701,

    /// <summary>CUDA_ERROR_LAUNCH_TIMEOUT.</summary>
    LaunchTimeout = 702,

    /// <summary>CUDA_ERROR_CONTEXT_IS_DESTROYED.</summary>
    ContextIsDestroyed = 709,

    /// <summary>CUDA_ERROR_ASSERT: an assert failed in a kernel; the context is lost.</summary>
    Assert = 710,

    /// <summary>CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED.</summary>
    HostMemoryAlreadyRegistered = 712,

    /// <summary>CUDA_ERROR_MISALIGNED_ADDRESS; the context is lost.</summary>
    MisalignedAddress = 716,

    /// <summary>CUDA_ERROR_LAUNCH_FAILED: a kernel failed for a reason of its own; the context is lost.</summary>
    LaunchFailed = 719,

    /// <summary>CUDA_ERROR_NOT_PERMITTED.</summary>
    NotPermitted = 800,

    /// <summary>CUDA_ERROR_NOT_SUPPORTED.</summary>
    NotSupported = 801,

    /// <summary>CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: kernel module and library are of different driver versions.</summary>
    SystemDriverMismatch = 803,

    /// <summary>CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: not allowed while a stream is captured into a graph.</summary>
    StreamCaptureUnsupported = 900,

    /// <summary>CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: an earlier error spoiled the capture.</summary>
    StreamCaptureInvalidated = 901,

    /// <summary>CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE: the change needs a new instance.</summary>
    GraphExecUpdateFailure = 910,

    /// <summary>CUDA_ERROR_UNKNOWN.</summary>
    Unknown = 999,
}
