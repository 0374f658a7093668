using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// The operations of training steps, captured and run again: for a batch of sequences of one length those from embedding to gradients, and
/// those of the optimizer. What is another one in every step lies in device memory: tokens, targets, the optimizer's factors. All
/// run plainly once before they are captured, by which kernels are compiled and memory is allocated; results are the same to the last bit.
/// </summary>
internal sealed class StepGraphs : IDisposable
{
    // Batches of so many shapes, or scales of their gradients, are told from each other.
    private const int MostPasses = 4;

    private readonly TrainableModel _model;
    private readonly AdamWOptimizer _optimizer;
    private readonly ForwardTape _tape;
    private readonly float _zLossWeight;
    private readonly DeviceBuffer _factors;

    // The one that was used last comes first.
    private readonly List<(PassKey Key, Repeated Work)> _passes = [];
    private (double GradientScale, Repeated Work)? _step;

    public StepGraphs(TrainableModel model, AdamWOptimizer optimizer, ForwardTape tape, double zLossWeight)
    {
        _model = model;
        _optimizer = optimizer;
        _tape = tape;
        _zLossWeight = (float)zLossWeight;
        _factors = model.Backend.Allocate(2 * AdamWFactors.Count * sizeof(float));
    }

    /// <summary>How often captured operations were run in place of plain ones.</summary>
    public long Runs { get; private set; }

    /// <summary>Whether the pass of a batch can be captured: a layout of other sequences is baked into the operations.</summary>
    public static bool Takes(TokenBatch batch) => batch.Layout.IsUniform;

    /// <summary>Adds a batch's gradients to those there are, and leaves its losses on the tape.</summary>
    public void Pass(TokenBatch batch, float gradScale)
    {
        _model.Bring(batch.Tokens, batch.Targets, batch.Layout, _tape);
        ModelGradients gradients = _model.Gradients;
        bool isFirst = gradients.AreClear;
        if (!isFirst)
        {
            gradients.Settle();
        }

        PassKey key = new(batch.Layout.Count, batch.Layout.MaxLength, gradScale, isFirst);
        int known = _passes.FindIndex(pass => pass.Key == key);
        Repeated work = known >= 0
            ? _passes[known].Work
            : new Repeated(_model.Backend, () =>
            {
                // Told each time: capturing these operations has told it too, and does not run them.
                if (isFirst)
                {
                    gradients.MarkClear();
                }

                _model.Run(_tape, gradScale, _zLossWeight);
            });
        if (known >= 0)
        {
            _passes.RemoveAt(known);
        }

        _passes.Insert(0, (key, work));
        if (_passes.Count > MostPasses)
        {
            _passes[^1].Work.Dispose();
            _passes.RemoveAt(MostPasses);
        }

        Runs += work.Run() ? 1 : 0;
        gradients.MarkReached();
    }

    /// <summary>As <see cref="AdamWOptimizer.Step"/>.</summary>
    public double Step(double learningRate, double gradientScale)
    {
        (AdamWFactors decayed, AdamWFactors undecayed) = _optimizer.Factors(learningRate);
        MatrixView factors = _factors.Matrix(DataType.Float32, 2, AdamWFactors.Count);
        _model.Backend.Upload<float>(
            [
                decayed.Keep, decayed.StepSize, decayed.RootCorrection, undecayed.Keep, undecayed.StepSize, undecayed.RootCorrection,
            ],
            factors);
        if (_step?.GradientScale != gradientScale)
        {
            _step?.Work.Dispose();
            _step = (gradientScale, new Repeated(_model.Backend, () =>
            {
                // As in Pass: what was captured has ended by clearing them.
                _model.Gradients.MarkReached();
                _optimizer.Put(learningRate: 0, gradientScale, factors.RowRange(0, 1), factors.RowRange(1, 1));
            }));
        }

        _model.Gradients.Settle();
        Runs += _step.Value.Work.Run() ? 1 : 0;
        _model.Gradients.MarkClear();
        return _optimizer.Count(gradientScale);
    }

    public void Dispose()
    {
        _passes.ForEach(pass => pass.Work.Dispose());
        _step?.Work.Dispose();
        _factors.Dispose();
    }

    /// <summary>Passes that differ: the first of a step writes gradients that the others add to.</summary>
    private readonly record struct PassKey(int Sequences, long Length, float GradScale, bool IsFirst);

    /// <summary>Operations that are captured when they are called again.</summary>
    private sealed class Repeated(Backend backend, Action operations) : IDisposable
    {
        // Somebody else may allocate on the backend in every step; capturing each time would cost more than it saves.
        private const int FreeCaptures = 4;
        private const int RunsOfCapture = 8;

        private CapturedOperations? _captured;
        private bool _isWarm;
        private bool _isRefused;
        private int _captures;
        private long _runs;

        /// <summary>Runs the operations; whether as captured ones.</summary>
        public bool Run()
        {
            if (_isWarm && !_isRefused && _captured is not { IsCurrent: true } && _captures < FreeCaptures + (_runs / RunsOfCapture))
            {
                Capture();
            }

            if (_captured is { IsCurrent: true })
            {
                _captured.Run();
                _runs++;
                return true;
            }

            operations();
            _isWarm = true;
            return false;
        }

        public void Dispose() => _captured?.Dispose();

        private void Capture()
        {
            _captured?.Dispose();
            _captured = null;
            try
            {
                _captured = backend.Capture(operations);
                _captures++;
            }
            catch (Exception exception) when (exception is CudaException or CublasException)
            {
                // A driver or a library that cannot: plain operations do the same.
                _isRefused = true;
            }
        }
    }
}
