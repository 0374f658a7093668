using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// What one training pass leaves for its backward pass (see <see cref="Recomputation"/>). Its buffer grows to the largest pass and is then
/// used again. Several tapes hold successive segments of one sequence, for back-propagation through time.
/// </summary>
public sealed class ForwardTape : IDisposable
{
    private readonly MambaConfig _config;
    private readonly Backend _backend;
    private readonly Recomputation _recomputation;
    private readonly LayerTape[] _layers;
    private DeviceBuffer? _buffer;
    private LayerStates? _before;

    internal ForwardTape(MambaConfig config, Backend backend, Recomputation recomputation)
    {
        _config = config;
        _backend = backend;
        _recomputation = recomputation;
        _layers = new LayerTape[config.LayerCount];
    }

    /// <summary>Which tokens of the pass belong together; null before the first.</summary>
    public SequenceLayout? Sequences { get; private set; }

    /// <summary>The last norm's result for every token, (tokens, hidden size), activation type: what logits are made of.</summary>
    public MatrixView Hidden { get; private set; }

    /// <summary>
    /// The gradient of <see cref="Hidden"/>: written by <see cref="TrainableModel.Loss(ForwardTape, ReadOnlySpan{int}, float, float)"/> or by a loss of the caller's own, read by
    /// <see cref="TrainableModel.Backward"/>.
    /// </summary>
    public MatrixView GradHidden { get; private set; }

    /// <summary>The bytes that it holds on the device.</summary>
    public long ByteLength => _buffer?.ByteLength ?? 0;

    internal MatrixView TokenIds { get; private set; }

    /// <summary>(tokens, 1), Int32.</summary>
    internal MatrixView Targets { get; private set; }

    /// <summary>The loss of each token, (tokens, 1), Float32.</summary>
    internal MatrixView Losses { get; private set; }

    /// <summary>The residual stream behind the last block, as the last norm read it.</summary>
    internal MatrixView FinalResidual { get; private set; }

    /// <summary>The states that the pass started from; null for zeros.</summary>
    internal LayerStates? Before { get; private set; }

    internal LayerTape Layer(int layer) => _layers[layer];

    /// <inheritdoc/>
    public void Dispose()
    {
        _buffer?.Dispose();
        _before?.Dispose();
    }

    /// <summary>The bytes that a pass takes.</summary>
    internal static long ByteLengthFor(MambaConfig config, Backend backend, Recomputation recomputation, SequenceLayout sequences) =>
        new ForwardTape(config, backend, recomputation).Cut(null, sequences);

    /// <summary>Makes room for a pass and takes the states that it starts from.</summary>
    internal void Begin(SequenceLayout sequences, LayerStates? state)
    {
        Sequences = null;
        long bytes = Cut(null, sequences);
        if (_buffer is null || _buffer.ByteLength < bytes)
        {
            _buffer?.Dispose();
            _buffer = null;
            _buffer = Allocate(bytes, sequences);
        }

        Cut(_buffer, sequences);
        if (state is null)
        {
            Before = null;
        }
        else
        {
            if (_before?.SlotCount != state.SlotCount)
            {
                _before?.Dispose();
                _before = null;
                _before = new LayerStates(_config, _backend, state.SlotCount);
            }

            _backend.Copy(state.Whole, _before.Whole);
            Before = _before;
        }

        Sequences = sequences;
    }

    private DeviceBuffer Allocate(long bytes, SequenceLayout sequences)
    {
        try
        {
            return _backend.Allocate(bytes);
        }
        catch (InsufficientMemoryException exception)
        {
            long least = ByteLengthFor(_config, _backend, Recomputation.Block, sequences);
            string remedy = _recomputation == Recomputation.Block || least >= bytes
                ? "Take fewer or shorter sequences at once, or segments with their state carried."
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"Recomputing whole blocks takes {least:N0}; or take fewer or shorter sequences at once.");
            throw new InsufficientMemoryException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"A training pass over {sequences.TotalLength:N0} tokens stores {bytes:N0} bytes. {remedy} ") + exception.Message,
                exception);
        }
    }

    private long Cut(DeviceBuffer? buffer, SequenceLayout sequences)
    {
        BufferCutter cutter = new(buffer);
        DataType activation = _backend.ActivationType;
        long tokens = sequences.TotalLength;
        TokenIds = cutter.Next(DataType.Int32, tokens, 1);
        Targets = cutter.Next(DataType.Int32, tokens, 1);
        Losses = cutter.Next(DataType.Float32, tokens, 1);
        for (int layer = 0; layer < _layers.Length; layer++)
        {
            MatrixView residual = layer == 0 ? default : cutter.Next(DataType.Float32, tokens, _config.HiddenSize);
            LayerTape kept = new() { Residual = residual };
            if (_recomputation != Recomputation.Block)
            {
                kept = kept with
                {
                    InProjected = cutter.Next(activation, tokens, 2 * _config.IntermediateSize),
                    ScanInputs = cutter.Next(activation, tokens, _config.TimeStepRank + (2 * _config.StateSize)),
                    Checkpoints = cutter.Next(DataType.Float32, CheckpointRows(sequences), _config.IntermediateSize),
                };
            }

            if (_recomputation == Recomputation.Scan)
            {
                kept = kept with
                {
                    Normalized = cutter.Next(activation, tokens, _config.HiddenSize),
                    Inner = cutter.Next(activation, tokens, _config.IntermediateSize),
                    Delta = cutter.Next(activation, tokens, _config.IntermediateSize),
                };
            }

            _layers[layer] = kept;
        }

        FinalResidual = cutter.Next(DataType.Float32, tokens, _config.HiddenSize);
        Hidden = cutter.Next(activation, tokens, _config.HiddenSize);
        GradHidden = cutter.Next(activation, tokens, _config.HiddenSize);
        return cutter.ByteLength;
    }

    private long CheckpointRows(SequenceLayout sequences) =>
        sequences.CheckpointCount(_backend.ScanCheckpointSteps) * _config.StateSize;
}

/// <summary>What one layer leaves; views are none for what is recomputed.</summary>
/// <param name="Residual">
/// The residual stream as the layer's norm read it, (tokens, hidden size), Float32; none for the first layer, whose is the embeddings.
/// </param>
/// <param name="InProjected">(tokens, 2 * intermediate size).</param>
/// <param name="ScanInputs">(tokens, time step rank + 2 * state size).</param>
/// <param name="Checkpoints">(checkpoints * state size, intermediate size), Float32.</param>
/// <param name="Normalized">(tokens, hidden size).</param>
/// <param name="Inner">After the convolution, (tokens, intermediate size).</param>
/// <param name="Delta">(tokens, intermediate size).</param>
internal readonly record struct LayerTape(
    MatrixView Residual, MatrixView InProjected, MatrixView ScanInputs, MatrixView Checkpoints, MatrixView Normalized, MatrixView Inner,
    MatrixView Delta);
