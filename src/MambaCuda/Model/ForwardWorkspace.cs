using System.Globalization;
using System.Numerics;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The activations of one forward pass: one device buffer, cut into views for the tokens at hand. It grows, by doubling, to the largest
/// pass seen and is then used again and again, so a steady state allocates nothing.
/// </summary>
internal sealed class ForwardWorkspace(MambaConfig config, Backend backend) : IDisposable
{
    private const int SmallestChunk = 64;
    private const int MostLogitsRows = 1024;
    private const int MostSteps = 1024;

    // What operations take for themselves grows with the pass too: room is left for it.
    private const double Headroom = 1.25;

    private DeviceBuffer? _buffer;
    private int _capacity;

    /// <summary>How many tokens run at once at most: what the backend prefers, or fewer where memory has been short.</summary>
    public int ChunkTokens { get; private set; } = backend.PreferredChunkTokens;

    /// <summary>How many rows of logits are made at once, so that those of a long sequence never exist together.</summary>
    public int LogitsRows => LogitsRowsOf(ChunkTokens);

    /// <summary>(tokens, 1), Int32.</summary>
    public MatrixView TokenIds { get; private set; }

    /// <summary>The residual stream, (tokens, hidden size), Float32.</summary>
    public MatrixView Residual { get; private set; }

    /// <summary>The residual stream of every other layer where one token of each sequence runs; see <see cref="TakesSteps"/>.</summary>
    public MatrixView OtherResidual { get; private set; }

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

    /// <summary>Whether there is memory for one token of each of so many sequences: more run as longer ones do.</summary>
    public static bool TakesSteps(int sequences) => sequences <= MostSteps;

    /// <summary>What a block reads and writes.</summary>
    /// <param name="sequences">Which of the tokens belong together.</param>
    /// <param name="layer">The number of the layer.</param>
    /// <param name="before">The states that the sequences go on from.</param>
    /// <param name="after">Where to leave them; may be the same.</param>
    public BlockOperands Block(SequenceLayout sequences, int layer, MambaState before, MambaState after) => new()
    {
        Sequences = sequences,
        Normalized = Normalized,
        InProjected = InProjected,
        Inner = Inner,
        ScanInputs = ScanInputs,
        Delta = Delta,
        Gated = Inner,
        BlockOutput = BlockOutput,
        ConvolutionBefore = before.Convolution(layer),
        ConvolutionAfter = after.Convolution(layer),
        ScanBefore = before.Scan(layer),
        ScanAfter = after.Scan(layer),
    };

    /// <summary>The bytes that a pass over <paramref name="tokens"/> tokens takes.</summary>
    public static long ByteLengthFor(MambaConfig config, Backend backend, long tokens)
    {
        int most = backend.PreferredChunkTokens;
        return new ForwardWorkspace(config, backend).Cut(null, CapacityFor(tokens, most), most);
    }

    /// <summary>
    /// Makes room for a pass over this many tokens, or over as many at once as memory has room for: from then on
    /// <see cref="ChunkTokens"/> of them fit.
    /// </summary>
    /// <exception cref="InsufficientMemoryException">Not even a small pass has room; the message says what it takes.</exception>
    public void Reserve(long tokens)
    {
        while (Math.Min(tokens, ChunkTokens) > _capacity)
        {
            _buffer?.Dispose();
            _buffer = null;
            _capacity = 0;
            int capacity = CapacityFor(tokens, ChunkTokens);
            long bytes = Cut(null, capacity, ChunkTokens);
            try
            {
                bool fits = capacity <= SmallestChunk || backend.AvailableMemory is not { } available || bytes * Headroom <= available;
                _buffer = fits ? backend.Allocate(bytes) : null;
                _capacity = fits ? capacity : 0;
            }
            catch (InsufficientMemoryException) when (capacity > SmallestChunk)
            {
                _buffer = null;
            }
            catch (InsufficientMemoryException exception)
            {
                throw new InsufficientMemoryException(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"A pass of {capacity} tokens takes {bytes:N0} bytes for {backend.ActivationType} activations, ")
                    + $"for which {backend.Description} has no room beside weights and states. {exception.Message}",
                    exception);
            }

            if (_buffer is null)
            {
                ChunkTokens = Math.Max(SmallestChunk, capacity / 2);
            }
        }
    }

    /// <summary>Cuts views for this many tokens, at most <see cref="ChunkTokens"/>, for which there must be room.</summary>
    public void Cut(int tokens) => Cut(_buffer, tokens, ChunkTokens);

    public void Dispose() => _buffer?.Dispose();

    private static int LogitsRowsOf(int chunkTokens) => Math.Clamp(chunkTokens / 8, SmallestChunk, MostLogitsRows);

    private static int CapacityFor(long tokens, int most) =>
        tokens >= most ? most : Math.Min(most, (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(tokens, 1)));

    private long Cut(DeviceBuffer? buffer, int tokens, int most)
    {
        DataType activation = backend.ActivationType;
        BufferCutter cutter = new(buffer);
        TokenIds = cutter.Next(DataType.Int32, tokens, 1);
        RowNumbers = cutter.Next(DataType.Int32, tokens, 1);
        Residual = cutter.Next(DataType.Float32, tokens, config.HiddenSize);
        OtherResidual = cutter.Next(DataType.Float32, Math.Min(tokens, MostSteps), config.HiddenSize);
        Normalized = cutter.Next(activation, tokens, config.HiddenSize);
        BlockOutput = cutter.Next(activation, tokens, config.HiddenSize);
        Gathered = cutter.Next(activation, tokens, config.HiddenSize);
        InProjected = cutter.Next(activation, tokens, 2 * config.IntermediateSize);
        Inner = cutter.Next(activation, tokens, config.IntermediateSize);
        Delta = cutter.Next(activation, tokens, config.IntermediateSize);
        ScanInputs = cutter.Next(activation, tokens, config.TimeStepRank + (2 * config.StateSize));
        int logitsRows = Math.Min(tokens, LogitsRowsOf(most));
        Logits = cutter.Next(DataType.Float32, logitsRows, config.VocabularySize);
        LogProbabilities = cutter.Next(DataType.Float32, logitsRows, 1);
        return cutter.ByteLength;
    }
}
