using System.Globalization;

namespace MambaCuda.Driver;

/// <summary>The generation of a GPU, as 9.0 for Hopper.</summary>
/// <param name="Major">The major number; cubins run only within it.</param>
/// <param name="Minor">The minor number.</param>
public readonly record struct ComputeCapability(int Major, int Minor) : IComparable<ComputeCapability>
{
    /// <summary>From the number in architecture names, as 90 in sm_90.</summary>
    public static ComputeCapability FromNumber(int number) => new(number / 10, number % 10);

    /// <summary>The number in architecture names, as 90 in sm_90.</summary>
    public int Number => (Major * 10) + Minor;

    /// <inheritdoc/>
    public int CompareTo(ComputeCapability other) => (Major, Minor).CompareTo((other.Major, other.Minor));

    /// <summary>Whether the left one is older.</summary>
    public static bool operator <(ComputeCapability left, ComputeCapability right) => left.CompareTo(right) < 0;

    /// <summary>Whether the left one is newer.</summary>
    public static bool operator >(ComputeCapability left, ComputeCapability right) => left.CompareTo(right) > 0;

    /// <summary>Whether the left one is not newer.</summary>
    public static bool operator <=(ComputeCapability left, ComputeCapability right) => left.CompareTo(right) <= 0;

    /// <summary>Whether the left one is not older.</summary>
    public static bool operator >=(ComputeCapability left, ComputeCapability right) => left.CompareTo(right) >= 0;

    /// <summary>As in "9.0".</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Major}.{Minor}");
}
