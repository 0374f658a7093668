namespace MambaCuda.Driver;

/// <summary>A version of CUDA, as of the driver ("supports CUDA 13.0") or of NVRTC.</summary>
/// <param name="Major">The major version.</param>
/// <param name="Minor">The minor version.</param>
public readonly record struct CudaVersion(int Major, int Minor) : IComparable<CudaVersion>
{
    /// <summary>From CUDA's own number: 1000 x major + 10 x minor.</summary>
    public static CudaVersion FromNumber(int number) => new(number / 1000, number % 1000 / 10);

    /// <inheritdoc/>
    public int CompareTo(CudaVersion other) => (Major, Minor).CompareTo((other.Major, other.Minor));

    /// <summary>Whether the left version is older.</summary>
    public static bool operator <(CudaVersion left, CudaVersion right) => left.CompareTo(right) < 0;

    /// <summary>Whether the left version is newer.</summary>
    public static bool operator >(CudaVersion left, CudaVersion right) => left.CompareTo(right) > 0;

    /// <summary>Whether the left version is not newer.</summary>
    public static bool operator <=(CudaVersion left, CudaVersion right) => left.CompareTo(right) <= 0;

    /// <summary>Whether the left version is not older.</summary>
    public static bool operator >=(CudaVersion left, CudaVersion right) => left.CompareTo(right) >= 0;

    /// <summary>As in "12.4".</summary>
    public override string ToString() => $"{Major}.{Minor}";
}
