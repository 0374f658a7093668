using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

/// <summary>A weight, quantized or of floats, as kernels take it, a part of their parameters; see mamba/quantized.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct WeightMatrix
{
    /// <summary>The address of the numbers, a multiple of 16 bytes; or of floats.</summary>
    public nint Values;

    /// <summary>The address of the scales, or none.</summary>
    public nint Scales;

    /// <summary>From a row of numbers or floats to the next.</summary>
    public long RowBytes;

    /// <summary>From a row of scales to the next, in elements.</summary>
    public long ScaleStride;

    /// <summary>The weights of a row.</summary>
    public int Columns;

    /// <summary>A group has two to this many weights.</summary>
    public int GroupShift;
}
