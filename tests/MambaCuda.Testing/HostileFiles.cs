using System.Diagnostics;
using System.Globalization;

namespace MambaCuda.Testing;

/// <summary>
/// Feeds a reader with hostile files. Each must end within a second and with less than 200 MB allocated, either in an exception that
/// the reader names as its own or in success, whose result the caller checks inside <c>read</c>.
/// </summary>
public static class HostileFiles
{
    /// <summary>How many of each kind of file are tried.</summary>
    public const int Count = 2000;

    private const int StackBytes = 1 << 20;
    private const int MostShown = 10;
    private const long MostAllocated = 200_000_000;
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan GivenUp = TimeSpan.FromSeconds(60);

    /// <summary>Tries the mutations of seeds 0 to <paramref name="count"/> - 1.</summary>
    /// <param name="mutate">Makes the file of a seed.</param>
    /// <param name="read">Reads it, and throws where it should not have been accepted as it was.</param>
    /// <param name="isNamed">Whether an exception is one by which the reader refuses a file.</param>
    /// <param name="count">How many.</param>
    /// <returns>How many were refused; the others were accepted.</returns>
    /// <exception cref="InvalidOperationException">
    /// Some file crashed the reader, or was too slow or too greedy; the message names the seeds.
    /// </exception>
    public static int Check(Func<int, FileMutation> mutate, Action<byte[]> read, Func<Exception, bool> isNamed, int count = Count)
    {
        List<string> failures = [];
        int refused = 0, current = -1;

        // A thread of its own, so that a reader that hangs is reported with its seed; with a small stack, so that one that
        // recurses is found.
        Thread worker = new(() =>
        {
            for (int seed = 0; seed < count && failures.Count < MostShown; seed++)
            {
                Volatile.Write(ref current, seed);
                FileMutation mutation = mutate(seed);
                if (Try(mutation.Bytes, read, isNamed, out string? problem))
                {
                    refused++;
                }

                if (problem is not null)
                {
                    failures.Add($"seed {mutation.Seed} ({mutation.Description}): {problem}");
                }
            }

            Volatile.Write(ref current, count);
        }, StackBytes)
        { IsBackground = true, CurrentCulture = CultureInfo.InvariantCulture };
        worker.Start();
        for (int seen = -1; !worker.Join(GivenUp); seen = Volatile.Read(ref current))
        {
            if (seen == Volatile.Read(ref current))
            {
                throw new InvalidOperationException($"Seed {seen} did not end within {GivenUp.TotalSeconds} seconds.");
            }
        }

        return failures.Count == 0 ? refused : throw new InvalidOperationException(string.Join(Environment.NewLine, failures));
    }

    private static bool Try(byte[] bytes, Action<byte[]> read, Func<Exception, bool> isNamed, out string? problem)
    {
        // A machine that is busy with something else can make any one reading slow, so the quickest of three counts.
        const int Attempts = 3;
        TimeSpan quickest = TimeSpan.MaxValue;
        for (int attempt = 0; attempt < Attempts && quickest > Longest; attempt++)
        {
            long allocated = GC.GetAllocatedBytesForCurrentThread();
            long start = Stopwatch.GetTimestamp();
            Exception? thrown = null;
            try
            {
                read(bytes);
            }
            catch (Exception e)
            {
                thrown = e;
            }

            TimeSpan taken = Stopwatch.GetElapsedTime(start);
            allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
            if (thrown is not null && !isNamed(thrown))
            {
                problem = thrown.ToString();
                return false;
            }

            if (allocated > MostAllocated)
            {
                problem = $"{allocated:N0} bytes were allocated";
                return false;
            }

            quickest = taken < quickest ? taken : quickest;
            if (quickest <= Longest)
            {
                problem = null;
                return thrown is not null;
            }
        }

        problem = $"it took {quickest.TotalSeconds:F2} seconds";
        return false;
    }
}
