using System.Diagnostics;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Marks points between operations; the time of each is read when the step is over.</summary>
internal abstract class StepClock : IDisposable
{
    /// <summary>The clock of a backend: the host's on the CPU, events on a card.</summary>
    public static StepClock Of(Backend backend) => backend is CudaBackend cuda ? new EventClock(cuda) : new HostClock();

    /// <summary>Forgets all marks.</summary>
    public abstract void Restart();

    /// <summary>Marks this point of the work, and returns the mark's number.</summary>
    public abstract int Mark();

    /// <summary>The milliseconds of every mark after the first, once the work is done.</summary>
    public abstract double[] Read();

    /// <summary>Sees to it that the device does not wait for the host between the marks that follow.</summary>
    public virtual void KeepAhead()
    {
    }

    /// <summary>What lies between two marks with nothing between them, in milliseconds: a part of every time.</summary>
    public double MarkMilliseconds()
    {
        const int Marks = 65;
        Restart();
        KeepAhead();
        for (int i = 0; i < Marks; i++)
        {
            Mark();
        }

        double[] times = Read();
        return ProfileSlice.MedianOf(times.Skip(1).Zip(times, (next, time) => next - time));
    }

    public abstract void Dispose();

    /// <summary>The host's clock, for work that is done when its call returns.</summary>
    private sealed class HostClock : StepClock
    {
        private readonly List<long> _marks = [];

        public override void Restart() => _marks.Clear();

        public override int Mark()
        {
            _marks.Add(Stopwatch.GetTimestamp());
            return _marks.Count - 1;
        }

        public override double[] Read() => [.. _marks.Select(mark => (mark - _marks[0]) * 1e3 / Stopwatch.Frequency)];

        public override void Dispose()
        {
        }
    }

    /// <summary>
    /// Events in the stream. Where the device has come near to the host's last mark, it is given something to do that touches no memory, so
    /// that kernels of few microseconds do not wait for their launch, which would count as theirs.
    /// </summary>
    private sealed class EventClock : StepClock
    {
        // A quarter of a millisecond, in which the host launches some forty kernels; looked at when fewer than these marks are ahead.
        private const int HoldSteps = 120_000;
        private const int Lead = 12;

        private readonly CudaBackend _backend;
        private readonly List<CudaEvent> _events = [];
        private readonly CudaModule _module;
        private readonly CudaKernel _hold;
        private readonly DeviceMemory _never;
        private readonly KernelArguments _arguments;
        private int _count;

        public EventClock(CudaBackend backend)
        {
            _backend = backend;
            _module = ProbeModule.Load(backend.Context, "hold.cu");
            _hold = _module.GetKernel("hold");
            _never = backend.Context.Allocate(sizeof(float));
            _arguments = new KernelArguments().Add(HoldSteps).Add(_never);
        }

        public override void Restart() => _count = 0;

        public override int Mark()
        {
            if (_count == _events.Count)
            {
                _events.Add(_backend.Context.CreateEvent());
            }

            _backend.Stream.Record(_events[_count]);
            return _count++;
        }

        public override void KeepAhead()
        {
            if (_count < Lead || _events[_count - Lead].IsCompleted)
            {
                _hold.Launch(_backend.Stream, new LaunchConfiguration(1, 1), _arguments);
            }
        }

        public override double[] Read()
        {
            _backend.Synchronize();
            return [.. _events.Take(_count).Select(mark => mark.ElapsedSince(_events[0]).TotalMilliseconds)];
        }

        public override void Dispose()
        {
            _events.ForEach(mark => mark.Dispose());
            _never.Dispose();
            _module.Dispose();
        }
    }
}
