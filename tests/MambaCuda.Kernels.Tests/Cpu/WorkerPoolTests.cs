using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>The threads of the cpu backend.</summary>
public class WorkerPoolTests
{
    [Theory, InlineData(1), InlineData(2), InlineData(3), InlineData(8)]
    public void Every_part_runs_just_once(int threads)
    {
        using WorkerPool pool = new(threads);
        int[] counts = new int[300];
        for (int round = 0; round < 3000; round++)
        {
            // Few parts and many, and now and then a pause in which the workers fall asleep.
            int parts = 1 + (round * 37 % counts.Length);
            Array.Clear(counts);
            CountingBody body = new(counts);
            pool.Run(ref body, parts);
            for (int part = 0; part < counts.Length; part++)
            {
                Assert.True(counts[part] == (part < parts ? 1 : 0), $"Part {part} of {parts} ran {counts[part]} times.");
            }

            if (round % 500 == 499)
            {
                Thread.Sleep(20);
            }
        }
    }

    [Fact]
    public void No_parts_are_no_work()
    {
        using WorkerPool pool = new(2);
        CountingBody body = new([]);
        pool.Run(ref body, 0);
    }

    [Theory, InlineData(1), InlineData(3)]
    public void An_exception_of_a_part_is_thrown_to_the_caller_and_the_pool_goes_on(int threads)
    {
        using WorkerPool pool = new(threads);
        for (int failing = 0; failing < 40; failing++)
        {
            ThrowingBody body = new(failing);
            InvalidOperationException exception = Assert.Throws<InvalidOperationException>(() => pool.Run(ref body, 40));
            Assert.Equal($"Part {failing}.", exception.Message);
            int[] counts = new int[40];
            CountingBody next = new(counts);
            pool.Run(ref next, 40);
            Assert.All(counts, count => Assert.Equal(1, count));
        }
    }

    [Theory, InlineData(1), InlineData(3)]
    public void A_run_allocates_nothing(int threads)
    {
        using WorkerPool pool = new(threads);
        CountingBody body = new(new int[64]);
        for (int round = 0; round < 200; round++)
        {
            pool.Run(ref body, 64);
        }

        // The workers run the same code as the caller, whose bytes these are.
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int round = 0; round < 2000; round++)
            {
                pool.Run(ref body, 64);
            }
        }));
    }

    [Fact]
    public void Workers_allocate_nothing()
    {
        const int Threads = 3;
        using WorkerPool pool = new(Threads);
        Dictionary<int, long> allocated = [];
        AllocationBody body = new(allocated, new Barrier(Threads));
        pool.Run(ref body, Threads);
        Dictionary<int, long> before = new(allocated);
        CountingBody work = new(new int[64]);
        for (int round = 0; round < 4000; round++)
        {
            pool.Run(ref work, 64);
            if (round % 1200 == 1199)
            {
                // Long enough that the workers fall asleep and must be woken.
                Thread.Sleep(20);
            }
        }

        pool.Run(ref body, Threads);
        Assert.Equal(Threads, before.Count);
        foreach ((int thread, long bytes) in allocated)
        {
            // Taking the measure, and the first contended waits of a busy machine, cost a thread a few objects once; the runtime counts
            // in pieces of up to 8 KB, two of which the few objects can begin. One allocation a run would be 96,000 bytes and more.
            Assert.InRange(bytes - before[thread], 0, 2 * 8192);
        }
    }

    [Fact]
    public void Dispose_ends_the_threads()
    {
        HashSet<Thread> threads = [];
        WorkerPool pool = new(3);
        ThreadBody body = new(threads, new Barrier(3));
        pool.Run(ref body, 3);
        Thread[] workers = [.. threads.Where(thread => thread != Thread.CurrentThread)];
        Assert.Equal(2, workers.Length);
        Assert.All(workers, worker => Assert.True(worker.IsAlive && worker.IsBackground));
        pool.Dispose();
        Assert.All(workers, worker => Assert.False(worker.IsAlive));
        pool.Dispose();
        CountingBody after = new(new int[4]);
        Assert.Throws<ObjectDisposedException>(() => pool.Run(ref after, 4));
    }

    [Fact]
    public void Sleeping_threads_end_too()
    {
        WorkerPool pool = new(4);
        Thread.Sleep(50);
        pool.Dispose();
    }

    [Theory, InlineData(0), InlineData(-1)]
    public void A_pool_has_a_thread(int threads) => Assert.Throws<ArgumentOutOfRangeException>(() => new WorkerPool(threads));

    private readonly struct CountingBody(int[] counts) : IParallelBody
    {
        public void Run(int part) => Interlocked.Increment(ref counts[part]);
    }

    private readonly struct ThrowingBody(int failing) : IParallelBody
    {
        public void Run(int part)
        {
            if (part == failing)
            {
                throw new InvalidOperationException($"Part {part}.");
            }
        }
    }

    /// <summary>Its parts wait for each other, so every thread has one.</summary>
    private readonly struct ThreadBody(HashSet<Thread> threads, Barrier barrier) : IParallelBody
    {
        public void Run(int part)
        {
            lock (threads)
            {
                threads.Add(Thread.CurrentThread);
            }

            barrier.SignalAndWait();
        }
    }

    private readonly struct AllocationBody(Dictionary<int, long> allocated, Barrier barrier) : IParallelBody
    {
        public void Run(int part)
        {
            barrier.SignalAndWait();
            lock (allocated)
            {
                allocated[Environment.CurrentManagedThreadId] = GC.GetAllocatedBytesForCurrentThread();
            }
        }
    }
}
