using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Writes down what a step calls, with a mark before and behind each operation and behind each kernel.</summary>
internal sealed class StepRecorder : IOperationTrace, IDisposable
{
    private readonly Backend _backend;
    private readonly StepClock _clock;
    private readonly Stack<Open> _open = [];
    private int _lastMark;
    private int _operationDepth;
    private bool _lastWasKernel;

    public StepRecorder(Backend backend)
    {
        _backend = backend;
        _clock = StepClock.Of(backend);
        MarkMilliseconds = _clock.MarkMilliseconds();
    }

    /// <summary>What a mark costs, which is in each time.</summary>
    public double MarkMilliseconds { get; }

    /// <summary>Runs a step once and returns what it took.</summary>
    /// <param name="name">What the step is called.</param>
    /// <param name="step">Runs it, and waits for it.</param>
    public ProfileSlice Record(string name, Action step)
    {
        _backend.Synchronize();
        _clock.Restart();
        _clock.KeepAhead();
        _lastMark = _clock.Mark();
        _open.Clear();
        _operationDepth = 0;
        _open.Push(new Open(new ProfileSlice(SliceKind.Step, name), _lastMark));
        Open root = _open.Peek();
        CudaBackend? cuda = _backend as CudaBackend;
        try
        {
            _backend.Trace = this;
            cuda?.OnLaunch = AddKernel;
            step();
        }
        finally
        {
            _backend.Trace = null;
            cuda?.OnLaunch = null;
        }

        Place(root, _clock.Read());
        return root.Slice;
    }

    public void BeginPart(string name, int number) => _open.Push(new Open(
        new ProfileSlice(SliceKind.Part, number < 0 ? name : string.Create(CultureInfo.InvariantCulture, $"{name} {number}")), _lastMark));

    public void EndPart() => Close();

    public void BeginOperation(string name, OperationWork work)
    {
        if (_operationDepth++ == 0)
        {
            _clock.KeepAhead();
        }

        _lastMark = _clock.Mark();
        _lastWasKernel = false;
        _open.Push(new Open(new ProfileSlice(SliceKind.Operation, name) { Work = work }, _lastMark));
    }

    public void EndOperation()
    {
        // Behind a kernel there is a mark already.
        if (!_lastWasKernel)
        {
            _lastMark = _clock.Mark();
        }

        _operationDepth--;
        ProfileSlice operation = _open.Peek().Slice;
        if (operation.Children is [{ Kind: SliceKind.Kernel } only])
        {
            only.Work = operation.Work;
        }

        Close();
    }

    public void Dispose() => _clock.Dispose();

    private void AddKernel(KernelLaunch launch)
    {
        Open kernel = new(new ProfileSlice(SliceKind.Kernel, $"{FunctionOf(launch.Kernel)} {launch}") { Launch = launch }, _lastMark);
        _lastMark = kernel.End = _clock.Mark();
        _lastWasKernel = true;
        Adopt(kernel);
    }

    private void Close()
    {
        Open closed = _open.Pop();
        closed.End = _lastMark;
        Adopt(closed);
    }

    private void Adopt(Open inner)
    {
        _open.Peek().Inner.Add(inner);
        _open.Peek().Slice.Children.Add(inner.Slice);
    }

    /// <summary>Operations keep their times; steps and parts are what is in them, one behind the other.</summary>
    private static void Place(Open open, double[] times)
    {
        double end = 0;
        bool isOperation = open.Slice.Kind is SliceKind.Operation or SliceKind.Kernel;
        foreach (Open inner in open.Inner)
        {
            Place(inner, times);
            inner.Slice.Offset = isOperation ? times[inner.Begin] - times[open.Begin] : end;
            end = inner.Slice.Offset + inner.Slice.Milliseconds;
        }

        open.Slice.Milliseconds = isOperation ? times[open.End] - times[open.Begin] : end;
    }

    /// <summary>embedding_forward of "mamba::embedding_forward&lt;float, 4&gt;".</summary>
    private static string FunctionOf(string expression)
    {
        string function = expression.Split('<')[0];
        return function[(function.LastIndexOf(':') + 1)..];
    }

    private sealed class Open(ProfileSlice slice, int begin)
    {
        public ProfileSlice Slice { get; } = slice;

        public int Begin { get; } = begin;

        public int End { get; set; }

        public List<Open> Inner { get; } = [];
    }
}
