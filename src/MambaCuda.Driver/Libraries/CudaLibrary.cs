namespace MambaCuda.Driver;

/// <summary>What a native library is called on each platform, newest version first, where it lies, and how one gets it.</summary>
public sealed class CudaLibrary
{
    /// <summary>The CUDA driver's library, which the NVIDIA driver installs.</summary>
    public static CudaLibrary Driver { get; } = new("the CUDA driver")
    {
        LinuxNames = ["libcuda.so.1"],
        WindowsNames = ["nvcuda.dll"],
        ComesWithDriver = true,
        Remedy = "Install the NVIDIA driver (https://www.nvidia.com/drivers; in a container, start it with the NVIDIA runtime: "
            + "docker run --gpus all). Without an NVIDIA GPU, use the CPU.",
    };

    /// <summary>NVRTC, the run-time compiler for CUDA C++.</summary>
    public static CudaLibrary Nvrtc { get; } = new("NVRTC")
    {
        LinuxNames = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"],
        WindowsNames = ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc64_112_0.dll"],
        CompanionPatterns = ["libnvrtc-builtins.so.*", "nvrtc-builtins64_*.dll"],
        Remedy = "Get it with the CUDA Toolkit, with 'pip install nvidia-cuda-nvrtc' (CUDA 13) or 'pip install nvidia-cuda-nvrtc-cu12', "
            + $"or with your distribution's libnvrtc package; then, if need be, set {LibraryFinder.PathVariable} to its folder.",
    };

    /// <summary>cuBLASLt, NVIDIA's matrix products.</summary>
    public static CudaLibrary CublasLt { get; } = new("cuBLASLt")
    {
        LinuxNames = ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so"],
        WindowsNames = ["cublasLt64_13.dll", "cublasLt64_12.dll", "cublasLt64_11.dll"],
        Remedy = "Get it with the CUDA Toolkit, with 'pip install nvidia-cublas' (CUDA 13) or 'pip install nvidia-cublas-cu12', "
            + $"or with your distribution's libcublas package; then, if need be, set {LibraryFinder.PathVariable} to its folder.",
    };

    /// <summary>NVTX, by which a program names its ranges to profilers.</summary>
    public static CudaLibrary ToolsExtension { get; } = new("NVTX")
    {
        LinuxNames = ["libnvtx3interop.so.1", "libnvtx3interop.so", "libnvToolsExt.so.1", "libnvToolsExt.so"],
        WindowsNames = ["nvtx3interop.dll", "nvToolsExt64_1.dll"],
        Remedy = "Get it with the CUDA Toolkit or with 'pip install nvidia-nvtx-cu12'; nothing but a profiler's picture needs it.",
    };

    /// <summary>Describes a library.</summary>
    /// <param name="title">Its name for people, as in "NVRTC".</param>
    public CudaLibrary(string title)
    {
        Title = title;
    }

    /// <summary>The name for people.</summary>
    public string Title { get; }

    /// <summary>File names on Linux, in the order in which they are preferred.</summary>
    public required IReadOnlyList<string> LinuxNames { get; init; }

    /// <summary>File names on Windows, in the order in which they are preferred.</summary>
    public required IReadOnlyList<string> WindowsNames { get; init; }

    /// <summary>Whether the NVIDIA driver brings it, so that looking into toolkits and pip's folders would be in vain.</summary>
    public bool ComesWithDriver { get; init; }

    /// <summary>
    /// Files of the same folder that the library opens itself, by a name that the system may not find. They are loaded beforehand.
    /// </summary>
    public IReadOnlyList<string> CompanionPatterns { get; init; } = [];

    /// <summary>What to do where it is missing, as whole sentences.</summary>
    public required string Remedy { get; init; }

    /// <inheritdoc/>
    public override string ToString() => Title;
}
