using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace MambaCuda.Kernels;

/// <summary>One part of a loop that <see cref="WorkerPool"/> runs on several threads.</summary>
internal interface IParallelBody
{
    /// <summary>Does part <paramref name="part"/>; parts run in any order, on any thread, at the same time.</summary>
    void Run(int part);
}

/// <summary>
/// Threads that stand ready between two operations. A decode step is some hundred operations of 1 to 100 us, so starting one must cost
/// about a microsecond and allocate nothing, which the thread pool of .NET does not offer. Workers spin for a moment and then sleep.
/// </summary>
/// <remarks>
/// One 64-bit word holds (generation, parts, next part). A worker claims a part by compare-and-swap on the whole word, so one that wakes
/// late finds either a newer generation or no part left, and Run waits for parts done, never for workers.
/// </remarks>
internal sealed unsafe class WorkerPool : IDisposable
{
    private const int PartBits = 20;
    private const long PartMask = (1L << PartBits) - 1;
    private const int MaxParts = (int)PartMask;
    private const int SpinsBeforeSleep = 2_000;

    private readonly Thread[] _workers;
    private readonly SemaphoreSlim _wake = new(0);
    private long _ticket;
    private int _done;
    private int _sleeping;
    private volatile bool _stopping;
    private delegate*<void*, int, void> _function;
    private void* _body;
    private ExceptionDispatchInfo? _failure;

    /// <summary>Starts threads - 1 workers; the caller of Run is the last one.</summary>
    public WorkerPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        Threads = threads;
        _workers = new Thread[threads - 1];
        for (int i = 0; i < _workers.Length; i++)
        {
            _workers[i] = new Thread(Work) { IsBackground = true, Name = $"MambaCuda worker {i + 1}" };
            _workers[i].Start();
        }
    }

    public int Threads { get; }

    /// <summary>
    /// Runs parts 0 to parts - 1 of the body and returns when all are done. Where parts throw, one of the exceptions is thrown here,
    /// when no part is running any more.
    /// </summary>
    public void Run<TBody>(ref TBody body, int parts) where TBody : struct, IParallelBody
    {
        ObjectDisposedException.ThrowIf(_stopping, this);
        if (_workers.Length == 0 || parts <= 1)
        {
            for (int part = 0; part < parts; part++)
            {
                body.Run(part);
            }

            return;
        }

        ArgumentOutOfRangeException.ThrowIfGreaterThan(parts, MaxParts);
        _function = &Invoke<TBody>;
        // On this stack: a body within an object, as a captured one is, may be moved while workers read it.
        TBody here = body;
        _body = Unsafe.AsPointer(ref here);
        _done = 0;
        long generation = (_ticket >> (2 * PartBits)) + 1;
        Interlocked.Exchange(ref _ticket, (generation << (2 * PartBits)) | ((long)parts << PartBits));
        int sleeping = Volatile.Read(ref _sleeping);
        if (sleeping > 0)
        {
            _wake.Release(Math.Min(sleeping, parts - 1));
        }

        while (RunOnePart())
        {
        }

        SpinWait spin = default;
        while (Volatile.Read(ref _done) < parts)
        {
            spin.SpinOnce(sleep1Threshold: -1);
        }

        body = here;
        if (_failure is { } failure)
        {
            _failure = null;
            failure.Throw();
        }
    }

    public void Dispose()
    {
        if (_stopping)
        {
            return;
        }

        _stopping = true;
        _wake.Release(_workers.Length + 1);
        foreach (Thread worker in _workers)
        {
            worker.Join();
        }

        _wake.Dispose();
    }

    private static void Invoke<TBody>(void* body, int part) where TBody : struct, IParallelBody =>
        Unsafe.AsRef<TBody>(body).Run(part);

    private bool RunOnePart()
    {
        while (true)
        {
            long ticket = Volatile.Read(ref _ticket);
            int next = (int)(ticket & PartMask);
            if (next >= (int)((ticket >> PartBits) & PartMask))
            {
                return false;
            }

            if (Interlocked.CompareExchange(ref _ticket, ticket + 1, ticket) == ticket)
            {
                try
                {
                    _function(_body, next);
                }
                catch (Exception exception)
                {
                    _failure = ExceptionDispatchInfo.Capture(exception);
                }

                Interlocked.Increment(ref _done);
                return true;
            }
        }
    }

    private void Work()
    {
        int idle = 0;
        while (!_stopping)
        {
            if (RunOnePart())
            {
                idle = 0;
            }
            else if (++idle < SpinsBeforeSleep)
            {
                Thread.SpinWait(8);
            }
            else
            {
                Sleep();
                idle = 0;
            }
        }
    }

    private void Sleep()
    {
        Interlocked.Increment(ref _sleeping);
        long ticket = Volatile.Read(ref _ticket);
        bool nothingLeft = (ticket & PartMask) >= ((ticket >> PartBits) & PartMask);
        if (nothingLeft && !_stopping)
        {
            _wake.Wait();
        }

        Interlocked.Decrement(ref _sleeping);
    }
}
