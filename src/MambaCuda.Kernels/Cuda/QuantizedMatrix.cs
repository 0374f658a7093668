using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

/// <summary>A quantized weight as kernels take it, a part of their parameters; see mamba/quantized.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct QuantizedMatrix
{
    /// <summary>The address of the numbers, a multiple of 16 bytes.</summary>
    public nint Values;

    /// <summary>The address of the scales.</summary>
    public nint Scales;

    /// <summary>From a row of numbers to the next, a multiple of 16 bytes.</summary>
    public long RowBytes;

    /// <summary>From a row of scales to the next, in elements.</summary>
    public long ScaleStride;

    /// <summary>The weights of a row.</summary>
    public int Columns;

    /// <summary>A group has two to this many weights.</summary>
    public int GroupShift;
}
