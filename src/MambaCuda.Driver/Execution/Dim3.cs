using System.Globalization;

namespace MambaCuda.Driver;

/// <summary>How many blocks or threads there are along each axis.</summary>
/// <param name="X">Along x, which varies fastest.</param>
/// <param name="Y">Along y.</param>
/// <param name="Z">Along z.</param>
public readonly record struct Dim3(int X, int Y = 1, int Z = 1)
{
    /// <summary>The number in all.</summary>
    public long Count => (long)X * Y * Z;

    /// <summary>So many along x.</summary>
    public static implicit operator Dim3(int x) => new(x);

    /// <summary>So many along x.</summary>
    public static Dim3 FromInt32(int x) => new(x);

    /// <summary>As in "4x1x1".</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{X}x{Y}x{Z}");
}
