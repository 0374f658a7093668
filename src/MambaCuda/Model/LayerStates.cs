using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The memory of recurrent states: for every layer and slot the last conv kernel - 1 inputs of the convolution and the state of the scan,
/// zero at first. The gradient of states has the same shape.
/// </summary>
public sealed class LayerStates : IDisposable
{
    private readonly MambaConfig _config;
    private readonly Backend _backend;
    private readonly DeviceBuffer _buffer;

    internal LayerStates(MambaConfig config, Backend backend, int slotCount)
    {
        _config = config;
        _backend = backend;
        SlotCount = slotCount;
        _buffer = backend.Allocate(checked(slotCount * BytesFor(config)));
    }

    /// <summary>The bytes of one slot.</summary>
    public static long BytesFor(MambaConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return checked((long)config.LayerCount * (config.ConvKernel - 1 + config.StateSize) * config.IntermediateSize * sizeof(float));
    }

    /// <summary>How many sequences have a slot.</summary>
    public int SlotCount { get; }

    /// <summary>All states as one matrix.</summary>
    public MatrixView Whole => Rows(0, _config.LayerCount * LayerRows);

    private int ConvolutionRows => _config.ConvKernel - 1;

    private long LayerRows => (long)SlotCount * (ConvolutionRows + _config.StateSize);

    /// <summary>All slots' convolution states of a layer, (slots * (conv kernel - 1), intermediate size).</summary>
    public MatrixView Convolution(int layer) => Rows(layer * LayerRows, (long)SlotCount * ConvolutionRows);

    /// <summary>All slots' scan states of a layer, (slots * state size, intermediate size).</summary>
    public MatrixView Scan(int layer) => Rows((layer * LayerRows) + ((long)SlotCount * ConvolutionRows), (long)SlotCount * _config.StateSize);

    /// <summary>The parts of one slot, layer by layer.</summary>
    public IEnumerable<MatrixView> Parts(int slot)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(slot);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(slot, SlotCount);
        for (int layer = 0; layer < _config.LayerCount; layer++)
        {
            yield return Convolution(layer).RowRange((long)slot * ConvolutionRows, ConvolutionRows);
            yield return Scan(layer).RowRange((long)slot * _config.StateSize, _config.StateSize);
        }
    }

    /// <summary>Sets all of them to zero.</summary>
    public void Clear() => _backend.Clear(Whole);

    /// <summary>Sets those of one slot to zero: its sequence starts anew.</summary>
    public void Clear(int slot)
    {
        if (SlotCount == 1 && slot == 0)
        {
            Clear();
            return;
        }

        foreach (MatrixView part in Parts(slot))
        {
            _backend.Clear(part);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _buffer.Dispose();

    private MatrixView Rows(long first, long count) =>
        _buffer.Matrix(DataType.Float32, count, _config.IntermediateSize, first * _config.IntermediateSize * sizeof(float));
}
