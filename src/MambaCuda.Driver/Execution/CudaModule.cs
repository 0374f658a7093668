using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>Kernels and globals that were loaded into a context from a cubin or a PTX text (CUmodule). None may be running when it is disposed of.</summary>
public sealed unsafe class CudaModule : CudaResource
{
    private CudaModule(CudaContext context, nint handle) : base(context, handle, CudaApi.cuModuleUnload)
    {
    }

    /// <summary>A kernel of the module. It lives as long as the module.</summary>
    /// <param name="name">Its name in the binary: lowered (mangled) unless the kernel is extern "C"; see
    /// <see cref="CompiledProgram.LoweredName"/>.</param>
    /// <exception cref="CudaException">There is no such kernel.</exception>
    public CudaKernel GetKernel(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(
            CudaApi.cuModuleGetFunction(out nint function, Handle, name), $"looking for the kernel {name} in a module");
        return new CudaKernel(this, function, name);
    }

    /// <summary>A __device__ or __constant__ variable of the module. It lives as long as the module.</summary>
    /// <param name="name">Its name in the binary.</param>
    /// <exception cref="CudaException">There is no such variable.</exception>
    public DeviceMemory GetGlobal(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(
            CudaApi.cuModuleGetGlobal_v2(out nint address, out nuint bytes, Handle, name), $"looking for the variable {name} in a module");
        return DeviceMemory.Adopt(Context, address, (long)bytes);
    }

    internal static CudaModule Load(CudaContext context, ReadOnlySpan<byte> image)
    {
        if (image.IsEmpty)
        {
            throw new ArgumentException("A module of no bytes cannot be loaded.", nameof(image));
        }

        const int LogBytes = 16 * 1024;
        JitOption* options = stackalloc JitOption[] { JitOption.ErrorLogBuffer, JitOption.ErrorLogBufferBytes };
        byte[] log = new byte[LogBytes];
        byte[] terminated = new byte[image.Length + 1]; // PTX is a C string
        image.CopyTo(terminated);

        using CudaContextScope scope = context.Activate();
        fixed (byte* logPointer = log, imagePointer = terminated)
        {
            nint* values = stackalloc nint[] { (nint)logPointer, LogBytes };
            CudaError error = CudaApi.cuModuleLoadDataEx(out nint module, imagePointer, 2, options, values);
            if (error != CudaError.Success)
            {
                string? reason = Explain(error, context, Marshal.PtrToStringUTF8((nint)logPointer)!);
                throw new CudaException(error, $"loading a module of {image.Length} bytes on {context.Device}", reason);
            }

            return new CudaModule(context, module);
        }
    }

    private static string? Explain(CudaError error, CudaContext context, string log)
    {
        string? reason = error switch
        {
            CudaError.UnsupportedPtxVersion or CudaError.InvalidSource or CudaError.InvalidImage =>
                $"The driver supports CUDA {CudaDriver.Version}; what a newer NVRTC or CUDA Toolkit made, it may not load: "
                + "update the driver or use an older one of them.",
            CudaError.NoBinaryForGpu =>
                $"The device has compute capability {context.Device.ComputeCapability}; the module was made for another one.",
            _ => null,
        };
        string text = string.Join('\n', new[] { reason, log.Trim() }.Where(part => !string.IsNullOrEmpty(part)));
        return text.Length == 0 ? null : text;
    }
}
