namespace MambaCuda.Driver;

/// <summary>A kernel of a <see cref="CudaModule"/>.</summary>
public sealed unsafe class CudaKernel
{
    private readonly nint _handle;
    private readonly Lazy<KernelParameter[]?> _parameters;

    internal CudaKernel(CudaModule module, nint handle, string name)
    {
        Module = module;
        Name = name;
        _handle = handle;
        _parameters = new Lazy<KernelParameter[]?>(ReadParameters);
    }

    /// <summary>The module that it lives in.</summary>
    public CudaModule Module { get; }

    /// <summary>Its name in the binary.</summary>
    public string Name { get; }

    /// <summary>The driver's handle (CUfunction).</summary>
    /// <exception cref="ObjectDisposedException">The module was disposed of.</exception>
    public nint Handle
    {
        get
        {
            _ = Module.Handle;
            return _handle;
        }
    }

    /// <summary>Registers of a thread.</summary>
    public int Registers => Get(FunctionAttribute.Registers);

    /// <summary>Local memory of a thread in bytes: spilled registers, and arrays that are indexed at run time.</summary>
    public int LocalBytes => Get(FunctionAttribute.LocalBytes);

    /// <summary>Shared memory of a block that the kernel declares, in bytes.</summary>
    public int StaticSharedBytes => Get(FunctionAttribute.SharedBytes);

    /// <summary>Constant memory that the kernel declares, in bytes.</summary>
    public int ConstantBytes => Get(FunctionAttribute.ConstantBytes);

    /// <summary>Most threads of a block, given its registers.</summary>
    public int MaxThreadsPerBlock => Get(FunctionAttribute.MaxThreadsPerBlock);

    /// <summary>The architecture that its code is for, as 90.</summary>
    public int BinaryArchitecture => Get(FunctionAttribute.BinaryVersion);

    /// <summary>
    /// Most dynamic shared memory of a block in bytes. Set before launches that need more than 48 KB, up to what the device gives
    /// (<see cref="CudaDeviceAttribute.MaxSharedBytesPerBlockOptIn"/> less <see cref="StaticSharedBytes"/>).
    /// </summary>
    public int MaxDynamicSharedBytes
    {
        get => Get(FunctionAttribute.MaxDynamicSharedBytes);
        set => Set(FunctionAttribute.MaxDynamicSharedBytes, value);
    }

    /// <summary>Wish for how much of the level-1 cache is shared memory, in percent; -1 leaves it to the driver.</summary>
    public int PreferredSharedCarveout
    {
        get => Get(FunctionAttribute.PreferredSharedCarveout);
        set => Set(FunctionAttribute.PreferredSharedCarveout, value);
    }

    /// <summary>Whether clusters of more than 8 blocks are allowed; whether the device has them is another matter.</summary>
    public bool AllowsLargeClusters
    {
        get => Get(FunctionAttribute.NonPortableClusterSizeAllowed) != 0;
        set => Set(FunctionAttribute.NonPortableClusterSizeAllowed, value ? 1 : 0);
    }

    /// <summary>The parameters as the binary has them; null where the driver does not tell (before CUDA 12.4).</summary>
    public IReadOnlyList<KernelParameter>? Parameters => _parameters.Value;

    /// <summary>Launches a kernel that takes one argument, usually a struct of the same layout as the kernel's.</summary>
    /// <param name="stream">The stream that it is put into.</param>
    /// <param name="configuration">Grid, block and the rest.</param>
    /// <param name="argument">The argument; copied before this returns.</param>
    /// <exception cref="ArgumentException">The kernel takes more than one argument, or one of another size.</exception>
    /// <exception cref="CudaException">The driver refuses the launch. Errors of the kernel itself come out later, when the stream is waited
    /// for.</exception>
    public void Launch<T>(CudaStream stream, in LaunchConfiguration configuration, in T argument) where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (_parameters.Value is { } parameters && (parameters.Length != 1 || parameters[0].ByteLength != sizeof(T)))
        {
            throw Mismatch(parameters, $"one of {sizeof(T)} bytes ({typeof(T).Name})");
        }

        fixed (T* pointer = &argument)
        {
            void* pointers = pointer;
            Launch(stream, configuration, &pointers);
        }
    }

    /// <summary>Launches a kernel that takes several arguments.</summary>
    /// <param name="stream">The stream that it is put into.</param>
    /// <param name="configuration">Grid, block and the rest.</param>
    /// <param name="arguments">The arguments; copied before this returns.</param>
    /// <exception cref="ArgumentException">The kernel takes another number of arguments, or of other sizes.</exception>
    /// <exception cref="CudaException">The driver refuses the launch. Errors of the kernel itself come out later, when the stream is waited
    /// for.</exception>
    public void Launch(CudaStream stream, in LaunchConfiguration configuration, KernelArguments arguments)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(arguments);
        if (_parameters.Value is { } parameters && !Fits(parameters, arguments))
        {
            string given = string.Join(", ", Enumerable.Range(0, arguments.Count).Select(arguments.LengthOf));
            throw Mismatch(parameters, $"{arguments.Count} of {given} bytes");
        }

        void** pointers = stackalloc void*[arguments.Count + 1];
        arguments.WritePointers(pointers);
        Launch(stream, configuration, pointers);
    }

    /// <summary>Launches a kernel that takes no argument.</summary>
    /// <param name="stream">The stream that it is put into.</param>
    /// <param name="configuration">Grid, block and the rest.</param>
    public void Launch(CudaStream stream, in LaunchConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (_parameters.Value is { Length: > 0 } parameters)
        {
            throw Mismatch(parameters, "none");
        }

        Launch(stream, configuration, (void**)null);
    }

    /// <summary>How many blocks of a size a multiprocessor holds at once.</summary>
    /// <param name="blockSize">Threads of a block.</param>
    /// <param name="dynamicSharedBytes">Dynamic shared memory of a block.</param>
    public int MaxActiveBlocksPerMultiprocessor(int blockSize, int dynamicSharedBytes = 0)
    {
        using CudaContextScope scope = Module.Context.Activate();
        CudaException.ThrowIfFailed(
            CudaApi.cuOccupancyMaxActiveBlocksPerMultiprocessor(out int blocks, Handle, blockSize, (nuint)dynamicSharedBytes),
            $"finding how many blocks of {blockSize} threads of {Name} a multiprocessor holds");
        return blocks;
    }

    /// <summary>The block size that keeps most threads active, and the number of blocks that fills the device with it.</summary>
    /// <param name="dynamicSharedBytes">Dynamic shared memory of a block, whatever its size.</param>
    /// <param name="largestBlock">The largest size to consider; 0 for no limit.</param>
    public (int BlockSize, int GridSize) SuggestBlockSize(int dynamicSharedBytes = 0, int largestBlock = 0)
    {
        using CudaContextScope scope = Module.Context.Activate();
        CudaException.ThrowIfFailed(
            CudaApi.cuOccupancyMaxPotentialBlockSize(out int grid, out int block, Handle, 0, (nuint)dynamicSharedBytes, largestBlock),
            $"finding the best block size of {Name}");
        return (block, grid);
    }

    /// <summary>How many clusters of a launch the device holds at once.</summary>
    public int MaxActiveClusters(in LaunchConfiguration configuration)
    {
        LaunchAttribute* attributes = stackalloc LaunchAttribute[LaunchConfiguration.MaxAttributes];
        NativeLaunchConfiguration native = configuration.ToNative(0, attributes);
        using CudaContextScope scope = Module.Context.Activate();
        CudaException.ThrowIfFailed(
            CudaApi.cuOccupancyMaxActiveClusters(out int clusters, Handle, &native),
            $"finding how many clusters of {Name} the device holds ({configuration})");
        return clusters;
    }

    private void Launch(CudaStream stream, in LaunchConfiguration configuration, void** pointers)
    {
        LaunchAttribute* attributes = stackalloc LaunchAttribute[LaunchConfiguration.MaxAttributes];
        NativeLaunchConfiguration native = configuration.ToNative(stream.Handle, attributes);
        using CudaContextScope scope = stream.Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuLaunchKernelEx(&native, Handle, pointers, null), $"launching {Name} ({configuration})");
    }

    private int Get(FunctionAttribute attribute)
    {
        using CudaContextScope scope = Module.Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuFuncGetAttribute(out int value, attribute, Handle), $"reading {attribute} of {Name}");
        return value;
    }

    private void Set(FunctionAttribute attribute, int value)
    {
        using CudaContextScope scope = Module.Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuFuncSetAttribute(Handle, attribute, value), $"setting {attribute} of {Name} to {value}");
    }

    private KernelParameter[]? ReadParameters()
    {
        if (!NativeImports.Has(NativeImports.Cuda, nameof(CudaApi.cuFuncGetParamInfo)))
        {
            return null;
        }

        using CudaContextScope scope = Module.Context.Activate();
        List<KernelParameter> parameters = [];
        while (CudaApi.cuFuncGetParamInfo(Handle, (nuint)parameters.Count, out nuint offset, out nuint bytes) == CudaError.Success)
        {
            parameters.Add(new KernelParameter((int)offset, (int)bytes));
        }

        return [.. parameters];
    }

    private static bool Fits(KernelParameter[] parameters, KernelArguments arguments)
    {
        if (parameters.Length != arguments.Count)
        {
            return false;
        }

        for (int i = 0; i < parameters.Length; i++)
        {
            if (parameters[i].ByteLength != arguments.LengthOf(i))
            {
                return false;
            }
        }

        return true;
    }

    private ArgumentException Mismatch(KernelParameter[] parameters, string given)
    {
        string sizes = string.Join(", ", parameters.Select(parameter => parameter.ByteLength));
        return new ArgumentException($"{Name} takes {parameters.Length} argument(s) of {sizes} bytes, but was given {given}.");
    }
}
