namespace MambaCuda.Driver;

/// <summary>Checks of byte ranges, written so that no sum can overflow.</summary>
internal static class ByteRange
{
    public static void Check(long offset, long length, long available)
    {
        if (offset < 0 || length < 0 || offset > available || length > available - offset)
        {
            throw new ArgumentOutOfRangeException(
                nameof(length), $"{length:N0} bytes at byte {offset:N0} are not inside {available:N0} bytes.");
        }
    }

    public static void CheckSame(long source, long destination)
    {
        if (source != destination)
        {
            throw new ArgumentException(
                $"A copy of {source:N0} bytes to {destination:N0} bytes: both must be the same; take a slice of the longer one.");
        }
    }
}
