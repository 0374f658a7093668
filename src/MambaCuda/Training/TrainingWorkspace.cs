using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The activations and gradients of one layer at a time, which no pass leaves behind: one buffer that grows to the largest pass.
/// </summary>
/// <param name="config">The sizes.</param>
/// <param name="backend">What computes.</param>
/// <param name="recomputation">What tapes keep, and the workspace need not have.</param>
/// <param name="adapter">The updates of projections, or null for none.</param>
internal sealed class TrainingWorkspace(
    MambaConfig config, Backend backend, Recomputation recomputation, LoraSettings? adapter) : IDisposable
{
    /// <summary>
    /// The least memory for the logits, and their gradients, that are made at once: few enough tokens to hold, however long the sequences
    /// are, and enough for the head's product, which goes over its whole weight and that one's gradient each time.
    /// </summary>
    private const long LogitsBytes = 512L << 20;

    /// <summary>The fewest tokens at once, and what their number is a multiple of.</summary>
    private const int LogitsRowsStep = 128;

    private readonly DeviceBuffer? _scale = adapter is null or { Scale: 1 } ? null : Diagonal(backend, adapter.Rank, (float)adapter.Scale);
    private DeviceBuffer? _buffer;

    /// <summary>(tokens, hidden size); none where layers keep their own.</summary>
    public MatrixView Normalized { get; private set; }

    /// <summary>(tokens, hidden size).</summary>
    public MatrixView BlockOutput { get; private set; }

    /// <summary>(tokens, 2 * intermediate size); none where layers keep their own, as the next two.</summary>
    public MatrixView InProjected { get; private set; }

    /// <summary>(tokens, time step rank + 2 * state size).</summary>
    public MatrixView ScanInputs { get; private set; }

    /// <summary>(checkpoints * state size, intermediate size), Float32.</summary>
    public MatrixView Checkpoints { get; private set; }

    /// <summary>After the convolution, (tokens, intermediate size); none where layers keep their own.</summary>
    public MatrixView Inner { get; private set; }

    /// <summary>(tokens, intermediate size).</summary>
    public MatrixView Delta { get; private set; }

    /// <summary>After the scan and the gate, (tokens, intermediate size).</summary>
    public MatrixView Gated { get; private set; }

    /// <summary>Gradient of the residual stream, (tokens, hidden size), Float32.</summary>
    public MatrixView GradResidual { get; private set; }

    /// <summary>
    /// Gradient of what a block adds to the stream, (tokens, hidden size). In the memory of BlockOutput: the forward pass has added its
    /// last one to the stream before the backward pass begins, which never makes one.
    /// </summary>
    public MatrixView GradBlockOutput => BlockOutput;

    /// <summary>
    /// The part of Inner's gradient that comes through the scan's inputs, (tokens, intermediate size). In the memory of Gated, which nobody
    /// reads after the out-projection's gradient.
    /// </summary>
    public MatrixView GradInnerByScanInputs => Gated;

    /// <summary>Gradient of what a block reads, (tokens, hidden size). In the memory of Gated too, after the convolution's gradient.</summary>
    public MatrixView GradNormalized { get; private set; }

    /// <summary>
    /// The residual stream before the first layer, (tokens, hidden size), Float32: the embeddings, which no tape keeps. In the memory of
    /// GradInner, so that it stays as it is for a forward pass, and for a backward pass until <see cref="MambaBlockBackward.Run"/>.
    /// </summary>
    public MatrixView FirstResidual { get; private set; }

    /// <summary>(tokens, 2 * intermediate size).</summary>
    public MatrixView GradInProjected { get; private set; }

    /// <summary>Gradient of Gated, then that part of Inner's that comes through the scan, (tokens, intermediate size).</summary>
    public MatrixView GradInner { get; private set; }

    /// <summary>(tokens, intermediate size), in the memory of Delta, which nobody reads after the scan has gone back over it.</summary>
    public MatrixView GradDelta => Delta;

    /// <summary>(tokens, time step rank + 2 * state size).</summary>
    public MatrixView GradScanInputs { get; private set; }

    /// <summary>(state size, intermediate size), Float32.</summary>
    public MatrixView GradA { get; private set; }

    /// <summary>
    /// (some tokens, vocabulary size), Float32. In the memory of all the others, none of which holds anything between the passes.
    /// </summary>
    public MatrixView Logits { get; private set; }

    /// <summary>(some tokens, vocabulary size); the memory of Logits where activations are Float32.</summary>
    public MatrixView GradLogits { get; private set; }

    /// <summary>What the updates of projections are computed with; none where there are none.</summary>
    public AdapterOperands Adapters { get; private set; }

    /// <summary>Makes room for a pass and cuts the views for it.</summary>
    public void Cut(SequenceLayout sequences)
    {
        long bytes = Cut(null, sequences);
        if (_buffer is null || _buffer.ByteLength < bytes)
        {
            _buffer?.Dispose();
            _buffer = null;
            _buffer = backend.Allocate(bytes);
        }

        Cut(_buffer, sequences);
    }

    public void Dispose()
    {
        _buffer?.Dispose();
        _scale?.Dispose();
    }

    private static DeviceBuffer Diagonal(Backend backend, int size, float value)
    {
        float[] values = new float[size * size];
        for (int i = 0; i < size; i++)
        {
            values[(i * size) + i] = value;
        }

        DeviceBuffer buffer = backend.Allocate((long)values.Length * sizeof(float));
        backend.Upload<float>(values, buffer.Matrix(DataType.Float32, size, size));
        return buffer;
    }

    private long Cut(DeviceBuffer? buffer, SequenceLayout sequences)
    {
        BufferCutter cutter = new(buffer);
        DataType activation = backend.ActivationType;
        long tokens = sequences.TotalLength;
        int hidden = config.HiddenSize, inner = config.IntermediateSize;
        int scanInputs = config.TimeStepRank + (2 * config.StateSize);
        if (recomputation != Recomputation.Scan)
        {
            Normalized = cutter.Next(activation, tokens, hidden);
            Inner = cutter.Next(activation, tokens, inner);
        }

        BlockOutput = cutter.Next(activation, tokens, hidden);
        if (recomputation == Recomputation.Block)
        {
            InProjected = cutter.Next(activation, tokens, 2 * inner);
            ScanInputs = cutter.Next(activation, tokens, scanInputs);
            Checkpoints = cutter.Next(
                DataType.Float32, sequences.CheckpointCount(backend.ScanCheckpointSteps) * config.StateSize, inner);
        }

        Delta = cutter.Next(activation, tokens, inner);
        BufferCutter overGated = cutter;
        Gated = cutter.Next(activation, tokens, inner);
        GradNormalized = overGated.Next(activation, tokens, hidden);
        cutter.Join(overGated);
        GradResidual = cutter.Next(DataType.Float32, tokens, hidden);
        GradInProjected = cutter.Next(activation, tokens, 2 * inner);
        BufferCutter overGradInner = cutter;
        GradInner = cutter.Next(activation, tokens, inner);
        FirstResidual = overGradInner.Next(DataType.Float32, tokens, hidden);
        cutter.Join(overGradInner);
        GradScanInputs = cutter.Next(activation, tokens, scanInputs);
        GradA = cutter.Next(DataType.Float32, config.StateSize, inner);
        if (adapter is { Rank: int rank })
        {
            MatrixView scaled = cutter.Next(activation, tokens, rank);
            Adapters = _scale is null
                ? new AdapterOperands(default, default, scaled)
                : new AdapterOperands(_scale.Matrix(DataType.Float32, rank, rank), cutter.Next(activation, tokens, rank), scaled);
        }

        BufferCutter overAll = new(buffer);
        long logitsRows = LogitsRows(tokens, cutter.ByteLength);
        Logits = overAll.Next(DataType.Float32, logitsRows, config.VocabularySize);
        GradLogits = activation == DataType.Float32 ? Logits : overAll.Next(activation, logitsRows, config.VocabularySize);
        cutter.Join(overAll);
        return cutter.ByteLength;
    }

    /// <summary>Of how many tokens logits are made at once: as many as there is memory for, in parts of about one size.</summary>
    private long LogitsRows(long tokens, long bytes)
    {
        int ofLogit = sizeof(float) + (backend.ActivationType == DataType.Float32 ? 0 : backend.ActivationType.Size());
        long most = Math.Max(LogitsBytes, bytes) / (config.VocabularySize * (long)ofLogit) / LogitsRowsStep * LogitsRowsStep;
        most = Math.Max(most, LogitsRowsStep);
        long parts = Math.Max(1, (tokens + most - 1) / most);
        long even = (tokens + parts - 1) / parts;
        return Math.Min(tokens, (even + LogitsRowsStep - 1) / LogitsRowsStep * LogitsRowsStep);
    }
}
