using System.Numerics;
using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <summary>Up to here, reading the weight decides and multiplying costs nothing.</summary>
    private const int VectorRows = 16;

    /// <summary>Most memory for partial sums, and for cuBLASLt.</summary>
    private const long LinearWorkspaceBytes = 32 << 20;

    /// <summary>Most tiles whose inputs are split: that many counters are there.</summary>
    private const int MaxSplitTiles = 4096;

    /// <summary>Chosen products are kept for so many shapes; prompts of every length would add up.</summary>
    private const int MaxProducts = 512;

    private static readonly KernelFamily<LinearTileVariant> LinearMmaKernels = new(
        "linear_forward.cu",
        variant => $"mamba::linear_forward<{TypeName(variant.X)}, {TypeName(variant.Y)}, {variant.Tile.Rows}, {variant.Tile.Outputs}, "
            + $"{variant.Tile.WarpRows}, {variant.Tile.WarpOutputs}, {variant.Tile.Stages}, {Word(variant.Aligned)}>",
        LinearTileVariant.Of(LinearTileCost.Tiles(LinearTileKind.Mma)));

    private static readonly KernelFamily<LinearTileVariant> LinearWgmmaKernels = new(
        "linear_forward.cu",
        variant => $"mamba::linear_forward_wgmma<{TypeName(variant.X)}, {TypeName(variant.Y)}, "
            + $"{variant.Tile.Outputs}, {variant.Tile.Stages}>",
        LinearTileVariant.Of(LinearTileCost.Tiles(LinearTileKind.Wgmma)),
        suffix: "a");

    private static readonly KernelFamily<LinearTileVariant> LinearSimtKernels = new(
        "linear_forward.cu",
        variant => $"mamba::linear_forward_simt<{TypeName(variant.X)}, {TypeName(variant.Weight)}, {TypeName(variant.Y)}, "
            + $"{variant.Tile.Rows}>",
        LinearTileVariant.Of(LinearTileCost.Tiles(LinearTileKind.Simt)));

    private static readonly KernelFamily<LinearVectorVariant> LinearVectorKernels = new(
        "linear_vector.cu",
        variant => $"mamba::linear_vector<{TypeName(variant.X)}, {TypeName(variant.Weight)}, {TypeName(variant.Y)}, "
            + $"{variant.Rows}, {VectorOutputs}, {Word(variant.Aligned)}>",
        LinearVectorVariant.Of(mma: false),
        describe: variant => $"vector {variant}");

    private static readonly KernelFamily<LinearVectorVariant> LinearVectorMmaKernels = new(
        "linear_vector.cu",
        variant => $"mamba::linear_vector_mma<{TypeName(variant.X)}, {TypeName(variant.Y)}, {variant.Rows / 8}, {Word(variant.Aligned)}>",
        LinearVectorVariant.Of(mma: true),
        describe: variant => $"vector mma {variant}");

    private readonly Dictionary<RowProduct, CublasLtProduct?> _linearProducts = [];
    private CublasLt? _cublasLt;
    private bool _cublasLtTried;
    private DeviceMemory? _linearArrivals;

    private const int VectorOutputs = 4;
    private const int VectorMmaOutputs = 16;

    /// <summary>The ways in which a linear layer can be computed here, each of which gives the same result up to rounding.</summary>
    public IReadOnlyList<LinearVariant> LinearVariants(in LinearForwardArgs args)
    {
        if (args.Weight.IsQuantized)
        {
            return QuantizedVariants(args);
        }

        List<LinearVariant> all = [];
        if (ProductFor(args) is not null)
        {
            all.Add(new LinearVariant(LinearAlgorithm.CublasLt));
        }

        foreach (LinearTileCost cost in LinearTileCost.All)
        {
            for (int splits = 1; splits <= 4; splits *= 2)
            {
                if (Fits(args, cost.Tile, splits))
                {
                    all.Add(new LinearVariant(AlgorithmOf(cost.Tile), cost.Tile, splits));
                }
            }
        }

        all.AddRange(RowTileVariants(args));
        if (TakesRow(args.X, args.Weight))
        {
            all.Add(new LinearVariant(LinearAlgorithm.Row));
        }

        if (args.X.Rows <= VectorRows)
        {
            all.Add(Vector(mma: false));
            if (HaveTensorCores(args))
            {
                all.Add(Vector(mma: true));
            }
        }

        return all;
    }

    /// <summary>y = x W^T + bias in one of the ways that <see cref="LinearVariants"/> lists for these operands.</summary>
    public void LinearForward(in LinearForwardArgs args, LinearVariant variant)
    {
        if (args.X.Rows == 0 || args.Weight.Rows == 0)
        {
            return;
        }

        if (args.Weight.IsQuantized)
        {
            LinearQuantized(args, variant);
            return;
        }

        switch (variant.Algorithm)
        {
            case LinearAlgorithm.CublasLt:
                CublasLtProduct product = ProductFor(args)
                    ?? throw new NotSupportedException($"cuBLASLt has no way to compute {args.X} by {args.Weight}.");
                RunProduct(product, args.X, args.Weight.Matrix, args.Y);
                break;
            case LinearAlgorithm.Row:
                RunRow(args);
                break;
            case LinearAlgorithm.Vector:
                RunVector(args, variant.Tile.Kind == LinearTileKind.Mma);
                break;
            case var _ when variant.Tile.Kind == LinearTileKind.Rows:
                RunRowTiles(args, variant.Tile, variant.Splits);
                break;
            default:
                RunTiles(args, variant.Tile, variant.Splits);
                break;
        }
    }

    /// <inheritdoc/>
    protected override void LinearForwardCore(in LinearForwardArgs args)
    {
        if (args.X.Rows != 0 && args.Weight.Rows != 0)
        {
            LinearForward(args, args.Weight.IsQuantized ? ChooseQuantized(args) : ChooseLinear(args));
        }
    }

    /// <summary>The fastest way that the options allow.</summary>
    internal LinearVariant ChooseLinear(in LinearForwardArgs args)
    {
        if (_options.BatchInvariant)
        {
            // All tiles add in the order of the inputs, so the number of rows may decide between them.
            return ChooseTile(args, maySplit: false);
        }

        bool isVector = args.X.Rows <= VectorRows;
        switch (_options.LinearAlgorithm)
        {
            case LinearAlgorithm.Auto or LinearAlgorithm.Row or LinearAlgorithm.Dequantized when TakesRow(args.X, args.Weight):
                return new LinearVariant(LinearAlgorithm.Row);
            case LinearAlgorithm.Auto or LinearAlgorithm.Row or LinearAlgorithm.Dequantized when ChooseRowTiles(args) is { } tiles:
                return tiles;
            case LinearAlgorithm.Vector:
            case LinearAlgorithm.Auto or LinearAlgorithm.Row or LinearAlgorithm.Dequantized when isVector:
                // One row is read in longer pieces without the matrices' layout; from two on they cost nothing more.
                return Vector(args.X.Rows > 1 && HaveTensorCores(args));
            case LinearAlgorithm.Auto or LinearAlgorithm.Row or LinearAlgorithm.CublasLt or LinearAlgorithm.Dequantized
                when ProductFor(args) is not null:
                return new LinearVariant(LinearAlgorithm.CublasLt);
            case LinearAlgorithm.Simt:
                return ChooseTile(args, maySplit: true, LinearAlgorithm.Simt);
            default:
                return ChooseTile(args, maySplit: true);
        }
    }

    private static LinearVariant Vector(bool mma) =>
        new(LinearAlgorithm.Vector, new LinearTile { Kind = mma ? LinearTileKind.Mma : LinearTileKind.Simt });

    private static LinearAlgorithm AlgorithmOf(LinearTile tile) =>
        tile.Kind == LinearTileKind.Simt ? LinearAlgorithm.Simt : LinearAlgorithm.TensorCore;

    private LinearVariant ChooseTile(in LinearForwardArgs args, bool maySplit, LinearAlgorithm? wanted = null)
    {
        LinearAlgorithm algorithm = wanted ?? (HaveTensorCores(args) ? LinearAlgorithm.TensorCore : LinearAlgorithm.Simt);
        int multiprocessors = Context.Device.MultiprocessorCount;
        LinearVariant best = default;
        double bestTime = double.PositiveInfinity;
        foreach (LinearTileCost cost in LinearTileCost.All)
        {
            for (int splits = 1; AlgorithmOf(cost.Tile) == algorithm && splits <= (maySplit ? 8 : 1); splits *= 2)
            {
                // wgmma is not known to add in the order of mma.sync, though it has done so wherever the two were compared.
                bool isAllowed = Fits(args, cost.Tile, splits) && !(_options.BatchInvariant && cost.Tile.Kind == LinearTileKind.Wgmma);
                double time = isAllowed
                    ? cost.Time(args.X.Rows, args.X.Columns, checked((int)args.Weight.Rows), splits, multiprocessors)
                    : double.PositiveInfinity;
                if (time < bestTime)
                {
                    (best, bestTime) = (new LinearVariant(algorithm, cost.Tile, splits), time);
                }
            }
        }

        return best;
    }

    /// <summary>Whether a tile can be used here, and its inputs split so.</summary>
    private bool Fits(in LinearForwardArgs args, LinearTile tile, int splits)
    {
        if (tile.Kind != LinearTileKind.Simt && !HaveTensorCores(args))
        {
            return false;
        }

        if (tile.Kind == LinearTileKind.Wgmma && !(HaveWgmma && AreAligned(16, args.X, args.Weight.Matrix)))
        {
            return false;
        }

        // The counter of arrivals is static shared memory, and moves the rest to the next multiple of 1,024 bytes.
        if (tile.SharedBytes + 1024 > _library.MaxSharedBytes)
        {
            return false;
        }

        long tiles = tile.Count(args.X.Rows, args.Weight.Rows);
        return splits == 1
            || (splits <= tile.Steps(args.X.Columns) && tiles <= MaxSplitTiles
                && tiles * splits * tile.Sums * sizeof(float) <= LinearWorkspaceBytes);
    }

    /// <summary>Whether tensor cores multiply these operands: Turing's know fp16 alone.</summary>
    private bool HaveTensorCores(in LinearForwardArgs args) =>
        args.X.Columns > 0 && args.X.Type == args.Weight.Matrix.Type && TensorCoresKnow(args.X.Type);

    private bool TensorCoresKnow(DataType type) =>
        type == DataType.Float16 || (type == DataType.BFloat16 && Context.Device.ComputeCapability.Major >= 8);

    private bool HaveWgmma => KnowsWgmma(Context.Device.ComputeCapability, RuntimeCompiler.Load().Version);

    /// <summary>Hopper's own instructions: no other generation has them, nor has NVRTC before 12.</summary>
    internal static bool KnowsWgmma(ComputeCapability capability, CudaVersion compiler) =>
        capability is { Major: 9, Minor: 0 } && compiler >= new CudaVersion(12, 0);

    /// <summary>What every kernel of tiles is given.</summary>
    private LinearForwardParams LinearParams(in LinearForwardArgs args, int splits) => new()
    {
        X = Address(args.X),
        Weight = Address(args.Weight.Matrix),
        Bias = Address(args.Bias),
        Y = Address(args.Y),
        Rows = args.X.Rows,
        XStride = args.X.RowStride,
        WeightStride = args.Weight.Matrix.RowStride,
        YStride = args.Y.RowStride,
        Inputs = args.X.Columns,
        Outputs = checked((int)args.Weight.Rows),
        Splits = splits,
    };

    private void RunTiles(in LinearForwardArgs args, LinearTile tile, int splits, bool accumulate = false)
    {
        int tiles = checked((int)tile.Count(args.X.Rows, args.Weight.Rows));
        LinearForwardParams parameters = LinearParams(args, splits);
        parameters.Band = Math.Max(1, 2048 / tile.Rows);
        parameters.Accumulate = accumulate ? 1 : 0;
        if (splits > 1)
        {
            parameters.Partial = _scratch.Reserve((long)tiles * splits * tile.Sums * sizeof(float));
            parameters.Arrived = LinearArrivals().Address;
        }

        bool aligned = tile.Kind != LinearTileKind.Simt && AreAligned(16, args.X, args.Weight.Matrix);
        LinearTileVariant variant = new(tile, args.X.Type, args.Weight.Matrix.Type, args.Y.Type, aligned);
        KernelFamily<LinearTileVariant> family = tile.Kind switch
        {
            LinearTileKind.Mma => LinearMmaKernels,
            LinearTileKind.Wgmma => LinearWgmmaKernels,
            _ => LinearSimtKernels,
        };
        // Blocks stay and take tile after tile; some more than the card holds at once would only wait.
        int resident = tile.Kind == LinearTileKind.Wgmma ? 1 : 4;
        int blocks = Math.Min(checked(tiles * splits), resident * Context.Device.MultiprocessorCount);
        Launch(family.Get(_library, variant), blocks, tile.Threads, parameters, tile.SharedBytes, splits);
    }

    private void RunVector(in LinearForwardArgs args, bool mma)
    {
        int rows = checked((int)args.X.Rows), outputs = checked((int)args.Weight.Rows);
        int blockRows = mma ? (rows <= 8 ? 8 : 16) : rows switch { 1 => 1, <= 4 => 4, _ => 8 };
        int blockOutputs = mma ? VectorMmaOutputs : VectorOutputs;
        int outputBlocks = (outputs + blockOutputs - 1) / blockOutputs, rowGroups = (rows + blockRows - 1) / blockRows;

        // As many warps as keep the memory busy. The number of rows must have no part in it: it decides the order of sums.
        int multiprocessors = Context.Device.MultiprocessorCount;
        int wanted = (mma ? 16 : 32) * multiprocessors / outputBlocks;
        int warps = Math.Clamp((int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(wanted, 1)), mma ? 4 : 2, mma ? 16 : 8);

        LinearVectorVariant variant = new(args.X.Type, args.Weight.Matrix.Type, args.Y.Type, blockRows, AreAligned(16, args.X, args.Weight.Matrix));
        KernelFamily<LinearVectorVariant> family = mma ? LinearVectorMmaKernels : LinearVectorKernels;
        Launch(family.Get(_library, variant), checked(outputBlocks * rowGroups), 32 * warps, new LinearVectorParams
        {
            X = Address(args.X),
            Weight = Address(args.Weight.Matrix),
            Bias = Address(args.Bias),
            Y = Address(args.Y),
            XStride = args.X.RowStride,
            WeightStride = args.Weight.Matrix.RowStride,
            YStride = args.Y.RowStride,
            Rows = rows,
            Inputs = args.X.Columns,
            Outputs = outputs,
            RowGroups = rowGroups,
        }, overlaps: args.WeightIsAtRest);
    }

    private void RunProduct(CublasLtProduct product, in MatrixView x, in MatrixView weight, in MatrixView y)
    {
        nint workspace = product.WorkspaceBytes == 0 ? 0 : _scratch.Reserve(product.WorkspaceBytes);
        product.Run(Stream, Address(x), Address(weight), Address(y), workspace);
        OnLaunch?.Invoke(new KernelLaunch(new LinearVariant(LinearAlgorithm.CublasLt).ToString(), "cublasLtMatmul", default, default));
    }

    /// <summary>How cuBLASLt computes it, chosen once for each shape; null where it is not to, cannot or is not there.</summary>
    private CublasLtProduct? ProductFor(in LinearForwardArgs args)
    {
        // It adds a bias of y's type only, and ours is float32.
        bool isIts = args.Bias.IsNone && args.X.Type == args.Weight.Matrix.Type && args.X.Columns > 0;
        return isIts ? ChosenProduct(new RowProduct(args.X.Rows, args.X.Columns, args.Weight.Rows), args.X, args.Weight.Matrix, args.Y) : null;
    }

    /// <summary>How cuBLASLt computes a product of these views, whose types and places are added to what is said of it.</summary>
    private CublasLtProduct? ChosenProduct(RowProduct product, in MatrixView x, in MatrixView weight, in MatrixView y)
    {
        if (!_options.UseCublasLt || OpenCublasLt() is not { } library)
        {
            return null;
        }

        nint places = Address(x) | Address(weight) | Address(y);
        RowProduct key = product with
        {
            Operands = ElementOf(x.Type),
            Result = ElementOf(y.Type),
            XStride = x.RowStride,
            WeightStride = weight.RowStride,
            YStride = y.RowStride,
            Alignment = 1 << Math.Min(BitOperations.TrailingZeroCount(places), 4),
        };
        if (!_linearProducts.TryGetValue(key, out CublasLtProduct? chosen))
        {
            if (_linearProducts.Count >= MaxProducts)
            {
                DropProducts();
            }

            chosen = library.Choose(key, LinearWorkspaceBytes);
            _linearProducts.Add(key, chosen);
        }

        return chosen;
    }

    private CublasLt? OpenCublasLt()
    {
        if (!_cublasLtTried)
        {
            _cublasLtTried = true;
            try
            {
                _cublasLt = CublasLt.Search.IsFound ? CublasLt.Open(Context) : null;
            }
            catch (CublasException)
            {
                // Too old for the card, or for the driver: our own kernels do it.
            }
        }

        return _cublasLt;
    }

    private DeviceMemory LinearArrivals()
    {
        if (_linearArrivals is null)
        {
            _linearArrivals = AllocateMemory(MaxSplitTiles * sizeof(uint));
            Stream.Clear(_linearArrivals);
        }

        return _linearArrivals;
    }

    private void DropProducts()
    {
        foreach (CublasLtProduct? product in _linearProducts.Values)
        {
            product?.Dispose();
        }

        _linearProducts.Clear();
    }

    private void DisposeLinear()
    {
        DropProducts();
        _cublasLt?.Dispose();
        _linearArrivals?.Dispose();
        _transposedMemory?.Dispose();
        _dequantizedMemory?.Dispose();
    }

    private static MatrixElement ElementOf(DataType type) => type switch
    {
        DataType.Float32 => MatrixElement.Float32,
        DataType.Float16 => MatrixElement.Float16,
        _ => MatrixElement.BFloat16,
    };

    private readonly record struct LinearTileVariant(LinearTile Tile, DataType X, DataType Weight, DataType Y, bool Aligned)
    {
        // Tensor cores take 16-bit operands of one type; wgmma aligned rows alone; the others any, element by element.
        public static IEnumerable<LinearTileVariant> Of(IEnumerable<LinearTile> tiles) =>
            from tile in tiles
            from x in VectorVariant.ActivationTypes
            from weight in VectorVariant.ActivationTypes
            where tile.Kind == LinearTileKind.Simt || (x == weight && x != DataType.Float32)
            from y in ResultTypes(x)
            from aligned in VectorVariant.Either
            where tile.Kind == LinearTileKind.Mma || aligned == (tile.Kind is LinearTileKind.Wgmma or LinearTileKind.Rows)
            select new LinearTileVariant(tile, x, weight, y, aligned);

        // The wgmma kernel takes aligned rows alone.
        public override string ToString() => Tile + Placed(Aligned && Tile.Kind == LinearTileKind.Mma);
    }

    private readonly record struct LinearVectorVariant(DataType X, DataType Weight, DataType Y, int Rows, bool Aligned)
    {
        // Rows that a block takes.
        private static readonly int[] PlainRows = [1, 4, 8];
        private static readonly int[] MmaRows = [8, 16];

        public static IEnumerable<LinearVectorVariant> Of(bool mma) =>
            from x in VectorVariant.ActivationTypes
            from weight in VectorVariant.ActivationTypes
            where !mma || (x == weight && x != DataType.Float32)
            from y in ResultTypes(x)
            from rows in mma ? MmaRows : PlainRows
            from aligned in VectorVariant.Either
            select new LinearVectorVariant(x, weight, y, rows, aligned);

        public override string ToString() => $"{Rows} {(Rows == 1 ? "row" : "rows")}{Placed(Aligned)}";
    }

    private static IEnumerable<DataType> ResultTypes(DataType activation) => new[] { activation, DataType.Float32 }.Distinct();

    [StructLayout(LayoutKind.Sequential)]
    private struct LinearForwardParams
    {
        public nint X;
        public nint Weight;
        public nint Bias;
        public nint Y;
        public nint Partial;
        public nint Arrived;
        public long Rows;
        public long XStride;
        public long WeightStride;
        public long YStride;
        public int Inputs;
        public int Outputs;
        public int Splits;
        public int Band;
        public int Accumulate;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LinearVectorParams
    {
        public nint X;
        public nint Weight;
        public nint Bias;
        public nint Y;
        public long XStride;
        public long WeightStride;
        public long YStride;
        public int Rows;
        public int Inputs;
        public int Outputs;
        public int RowGroups;
    }
}
