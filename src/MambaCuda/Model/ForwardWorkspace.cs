using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The activations of one forward pass: one device buffer, cut into views for the tokens at hand. It grows to the largest pass seen
/// and is then used again and again, so a steady state allocates nothing.
/// </summary>
internal sealed class ForwardWorkspace(MambaConfig config, Backend backend) : IDisposable
{
    /// <summary>How many rows of logits are made at once, so that those of a long sequence never exist together.</summary>
    public const int LogitsRows = 64;

    private const int Alignment = 256;

    private DeviceBuffer? _buffer;
    private int _capacity;
    private long _cut;

    /// <summary>(tokens, 1), Int32.</summary>
    public MatrixView TokenIds { get; private set; }

    /// <summary>The residual stream, (tokens, hidden size), Float32.</summary>
    public MatrixView Residual { get; private set; }

    /// <summary>What a block reads: the normalised residual, (tokens, hidden size).</summary>
    public MatrixView Normalized { get; private set; }

    /// <summary>What a block adds to the residual, (tokens, hidden size).</summary>
    public MatrixView BlockOutput { get; private set; }

    /// <summary>x, then z, of the in-projection, (tokens, 2 * intermediate size).</summary>
    public MatrixView InProjected { get; private set; }

    /// <summary>After the convolution, then after the scan, (tokens, intermediate size).</summary>
    public MatrixView Inner { get; private set; }

    /// <summary>Low-rank delta, B and C, (tokens, time step rank + 2 * state size).</summary>
    public MatrixView ScanInputs { get; private set; }

    /// <summary>(tokens, intermediate size).</summary>
    public MatrixView Delta { get; private set; }

    /// <summary>Numbers of the rows whose logits are wanted, (tokens, 1), Int32.</summary>
    public MatrixView RowNumbers { get; private set; }

    /// <summary>The rows whose logits are wanted, (at most tokens, hidden size).</summary>
    public MatrixView Gathered { get; private set; }

    /// <summary>(LogitsRows, vocabulary size), Float32.</summary>
    public MatrixView Logits { get; private set; }

    /// <summary>(LogitsRows, 1), Float32.</summary>
    public MatrixView LogProbabilities { get; private set; }

    /// <summary>The bytes that <paramref name="tokens"/> tokens need.</summary>
    public static long ByteLengthFor(MambaConfig config, DataType activation, int tokens) => new ForwardWorkspace(config, null!).Cut(null, activation, tokens);

    /// <summary>Cuts views for this many tokens, from a larger buffer where the present one is too small.</summary>
    public void Reserve(int tokens)
    {
        if (tokens > _capacity)
        {
            _buffer?.Dispose();
            _buffer = null;
            _capacity = 0;
            _buffer = backend.Allocate(ByteLengthFor(config, backend.ActivationType, tokens));
            _capacity = tokens;
        }

        Cut(_buffer, backend.ActivationType, tokens);
    }

    public void Dispose() => _buffer?.Dispose();

    private long Cut(DeviceBuffer? buffer, DataType activation, int tokens)
    {
        _cut = 0;
        TokenIds = Next(buffer, DataType.Int32, tokens, 1);
        RowNumbers = Next(buffer, DataType.Int32, tokens, 1);
        Residual = Next(buffer, DataType.Float32, tokens, config.HiddenSize);
        Normalized = Next(buffer, activation, tokens, config.HiddenSize);
        BlockOutput = Next(buffer, activation, tokens, config.HiddenSize);
        Gathered = Next(buffer, activation, tokens, config.HiddenSize);
        InProjected = Next(buffer, activation, tokens, 2 * config.IntermediateSize);
        Inner = Next(buffer, activation, tokens, config.IntermediateSize);
        Delta = Next(buffer, activation, tokens, config.IntermediateSize);
        ScanInputs = Next(buffer, activation, tokens, config.TimeStepRank + (2 * config.StateSize));
        int logitsRows = Math.Min(tokens, LogitsRows);
        Logits = Next(buffer, DataType.Float32, logitsRows, config.VocabularySize);
        LogProbabilities = Next(buffer, DataType.Float32, logitsRows, 1);
        return _cut;
    }

    private MatrixView Next(DeviceBuffer? buffer, DataType type, int rows, int columns)
    {
        MatrixView view = buffer?.Matrix(type, rows, columns, _cut) ?? default;
        long bytes = (long)rows * columns * type.Size();
        _cut += (bytes + Alignment - 1) / Alignment * Alignment;
        return view;
    }
}
