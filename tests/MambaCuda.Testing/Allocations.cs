namespace MambaCuda.Testing;

/// <summary>Counts what a piece of work allocates, for code that promises to allocate nothing once it is warm.</summary>
public static class Allocations
{
    private const int Rounds = 5;

    /// <summary>
    /// Bytes that the calling thread allocates in <paramref name="work"/>: the least of up to five runs. What the runtime itself allocates
    /// now and then on whatever thread compiles a method again is not in every run; an allocation of the work is.
    /// </summary>
    /// <remarks>The caller's own bytes: what other tests allocate meanwhile is not counted.</remarks>
    public static long Least(Action work)
    {
        long least = long.MaxValue;
        for (int round = 0; round < Rounds && least > 0; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            work();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        return least;
    }
}
