using MambaCuda.Driver;
using MambaCuda.Kernels;
using MambaCuda.Validation;

namespace MambaCuda.Cli;

/// <summary>What rows are measured on: a backend for a type and a variant, its clock, and random values to fill operands with.</summary>
internal sealed class BenchContext : IDisposable
{
    // Two times the cache, so that what a run leaves there is gone before its operands' turn comes again.
    private const int CacheTurns = 2;
    private const int TileElements = 1 << 20;

    private readonly Dictionary<(DataType, float, float), DeviceBuffer> _tiles = [];
    private readonly long _cacheBytes;
    private (string Name, string? Quantized)? _modelName;
    private RandomWeights? _weights;
    private MambaModel? _model;

    public BenchContext(Backend backend)
    {
        Backend = backend;
        _cacheBytes = backend is CudaBackend cuda ? cuda.Context.Device.Attribute(CudaDeviceAttribute.L2CacheBytes) : 0;
    }

    public Backend Backend { get; }

    /// <summary>How much memory bandwidth is measured over: a gigabyte, less on a device that has little.</summary>
    public static int ProbeMegabytes(Backend backend) =>
        backend is CudaBackend cuda ? (int)Math.Clamp((cuda.Context.Device.TotalMemory >> 20) / 64, 1, 1024) : 256;

    /// <summary>The random weights of a size; those of the last one asked for are kept.</summary>
    public RandomWeights Weights(string name, string? quantized = null)
    {
        if (_modelName != (name, quantized))
        {
            _model?.Dispose();
            _weights?.Dispose();
            (_modelName, _model, _weights) = (null, null, null);
            _weights = new RandomWeights(ModelSizes.Config(name, quantized), DataType.BFloat16, seed: 1);
            _modelName = (name, quantized);
        }

        return _weights!;
    }

    /// <summary>A model of a size, kept as its weights are.</summary>
    public MambaModel Model(string name, string? quantized = null)
    {
        RandomWeights weights = Weights(name, quantized);
        return _model ??= MambaModel.Create(ModelSizes.Config(name, quantized), weights.Tensors, Backend);
    }

    /// <summary>How many sets of operands of so many bytes run in turn: as many as pass the cache twice over.</summary>
    public int CopiesFor(long bytes) => (int)Math.Clamp((CacheTurns * _cacheBytes / Math.Max(bytes, 1)) + 1, 1, 256);

    /// <summary>Fills a matrix without gaps with normally distributed values: a tile of them, again and again.</summary>
    public void Fill(MatrixView view, float mean, float deviation)
    {
        const long MostAtOnce = 1 << 30;
        DeviceBuffer tile = Tile(view.Type, mean, deviation);
        long length = view.Rows * view.Columns * view.Type.Size(), done = Math.Min(tile.ByteLength, length);
        Backend.Copy(Bytes(tile, 0, done), Bytes(view.Buffer!, view.ByteOffset, done));
        while (done < length)
        {
            long next = Math.Min(Math.Min(done, length - done), MostAtOnce);
            Backend.Copy(Bytes(view.Buffer!, view.ByteOffset, next), Bytes(view.Buffer!, view.ByteOffset + done, next));
            done += next;
        }
    }

    public void Dispose()
    {
        _model?.Dispose();
        _weights?.Dispose();
        foreach (DeviceBuffer tile in _tiles.Values)
        {
            tile.Dispose();
        }

        Backend.Dispose();
    }

    private static MatrixView Bytes(DeviceBuffer buffer, long offset, long length) => buffer.Matrix(DataType.UInt8, 1, checked((int)length), offset);

    private DeviceBuffer Tile(DataType type, float mean, float deviation)
    {
        if (!_tiles.TryGetValue((type, mean, deviation), out DeviceBuffer? tile))
        {
            byte[] bytes = StoredValues.Encode(new RandomValues($"{mean} {deviation}").Normal(TileElements, mean, deviation), type);
            tile = Backend.Allocate(bytes.Length);
            Backend.Upload<byte>(bytes, Bytes(tile, 0, bytes.Length));
            _tiles.Add((type, mean, deviation), tile);
        }

        return tile;
    }
}
