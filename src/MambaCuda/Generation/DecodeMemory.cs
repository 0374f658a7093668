using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// What the rows of a <see cref="DecodeLoop"/> have on the device besides their states: how tokens are chosen, and what comes of a step. Random
/// states, log-probabilities and tokens lie side by side, so that one copy brings them to the host.
/// </summary>
internal sealed class DecodeMemory : IDisposable
{
    private const int RandomBytes = RandomStream.StateLength * sizeof(long);
    private const int RowBytes = RandomBytes + sizeof(float) + sizeof(int);

    private readonly DeviceBuffer _buffer;

    public DecodeMemory(Backend backend, int rows, int vocabulary, bool hasCounts)
    {
        Rows = rows;
        BufferCutter sizes = new(null);
        Cut(ref sizes);
        _buffer = backend.Allocate(sizes.ByteLength);
        BufferCutter cutter = new(_buffer);
        Cut(ref cutter);
        RandomStates = _buffer.Matrix(DataType.Int64, rows, RandomStream.StateLength);
        LogProbabilities = _buffer.Matrix(DataType.Float32, rows, 1, (long)rows * RandomBytes);
        TokenIds = _buffer.Matrix(DataType.Int32, rows, 1, (long)rows * (RandomBytes + sizeof(float)));

        void Cut(ref BufferCutter from)
        {
            Results = from.Next(DataType.UInt8, 1, checked(rows * RowBytes));
            Options = from.Next(DataType.Float32, rows, TokenSampling.Columns);
            Counts = hasCounts ? from.Next(DataType.Int32, rows, vocabulary) : default;
            Logits = [from.Next(DataType.Float32, rows, vocabulary), from.Next(DataType.Float32, rows, vocabulary)];
        }
    }

    /// <summary>How many sequences there are.</summary>
    public int Rows { get; }

    /// <summary>Random states, log-probabilities and tokens as bytes.</summary>
    public MatrixView Results { get; private set; }

    /// <summary>(rows, <see cref="RandomStream.StateLength"/>), Int64.</summary>
    public MatrixView RandomStates { get; }

    /// <summary>Of the tokens chosen, (rows, 1), Float32.</summary>
    public MatrixView LogProbabilities { get; }

    /// <summary>The tokens chosen, which the next step reads, (rows, 1), Int32.</summary>
    public MatrixView TokenIds { get; }

    /// <summary>(rows, <see cref="TokenSampling.Columns"/>), Float32.</summary>
    public MatrixView Options { get; private set; }

    /// <summary>How often tokens were seen, (rows, vocabulary), Int32; or none.</summary>
    public MatrixView Counts { get; private set; }

    /// <summary>Those of two steps in turn, (rows, vocabulary), Float32.</summary>
    public IReadOnlyList<MatrixView> Logits { get; private set; } = [];

    /// <summary>The choice from logits by the first rows, all of them or fewer.</summary>
    public SampleTokensArgs Sampling(MatrixView logits, int rows) => new()
    {
        Logits = logits.RowRange(0, rows),
        Options = Options.RowRange(0, rows),
        Counts = Counts.IsNone ? default : Counts.RowRange(0, rows),
        RandomStates = RandomStates.RowRange(0, rows),
        TokenIds = TokenIds.RowRange(0, rows),
        LogProbabilities = LogProbabilities.RowRange(0, rows),
    };

    /// <summary>Puts in where samplers stand: one for each of the first rows.</summary>
    public void Upload(IReadOnlyList<Sampler> samplers, int vocabulary)
    {
        Backend backend = _buffer.Backend;
        int rows = samplers.Count;
        float[] options = new float[rows * TokenSampling.Columns];
        long[] random = new long[rows * RandomStream.StateLength];
        for (int row = 0; row < rows; row++)
        {
            samplers[row].CopyTo(
                options.AsSpan(row * TokenSampling.Columns, TokenSampling.Columns),
                random.AsSpan(row * RandomStream.StateLength, RandomStream.StateLength));
        }

        backend.Upload<float>(options, Options.RowRange(0, rows));
        backend.Upload<long>(random, RandomStates.RowRange(0, rows));
        int[] counts = Counts.IsNone ? [] : new int[vocabulary];
        for (int row = 0; row < rows && !Counts.IsNone; row++)
        {
            samplers[row].CopyCountsTo(counts);
            backend.Upload<int>(counts, Counts.RowRange(row, 1));
        }
    }

    /// <summary>Where the random stream of a row stands, of the bytes of <see cref="Results"/>.</summary>
    public static ReadOnlySpan<long> RandomState(ReadOnlySpan<byte> results, int row) =>
        MemoryMarshal.Cast<byte, long>(results.Slice(row * RandomBytes, RandomBytes));

    /// <summary>The token of a row, of the bytes of <see cref="Results"/>.</summary>
    public SampledToken Token(ReadOnlySpan<byte> results, int row) => new(
        MemoryMarshal.Read<int>(results[(Rows * (RandomBytes + sizeof(float)) + (row * sizeof(int)))..]),
        MemoryMarshal.Read<float>(results[((Rows * RandomBytes) + (row * sizeof(float)))..]));

    public void Dispose() => _buffer.Dispose();
}
