using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Weights as training starts from (Mamba, section 3.6 and the official code): for benchmarks of a shape whose checkpoint is not at hand.
/// A_log = log(1..N), D = 1; dt bias = inverse softplus of exp(uniform(log min, log max)); embedding normal; projections uniform.
/// </summary>
public sealed class RandomWeights : IDisposable
{
    private readonly Dictionary<string, StoredTensor> _tensors = [];
    private readonly List<HostMemory> _memory = [];

    /// <summary>Makes all tensors of a configuration.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="projectionType">
    /// The type of embedding and projections: a weight type. Those that the configuration says are quantized are uniform, of the size that
    /// they would have. Everything else is Float32.
    /// </param>
    /// <param name="seed">The same seed gives the same weights.</param>
    public RandomWeights(MambaConfig config, DataType projectionType, int seed)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (!projectionType.IsWeightType())
        {
            throw new ArgumentOutOfRangeException(nameof(projectionType), projectionType, "Weights are Float32, BFloat16 or Float16.");
        }

        long first = 0;
        foreach (ExpectedTensor expected in config.StoredTensors())
        {
            if (expected.Type is { } only)
            {
                NativeHostMemory part = new(expected.ElementCount * only.Size());
                _memory.Add(part);
                if (TensorNames.OfScales(expected.Name) is { } weight)
                {
                    FillScales(part, ScaleOf(weight, config));
                }
                else
                {
                    FillNumbers(part, expected, config, new RandomSequence(seed, first));
                }

                first += expected.ElementCount;
                _tensors[expected.Name] = new StoredTensor(expected.Name, only, expected.Shape, part);
                continue;
            }

            bool projection = expected.Shape.Length == 2 && !expected.Name.EndsWith("A_log", StringComparison.Ordinal);
            DataType type = projection ? projectionType : DataType.Float32;
            NativeHostMemory memory = new(expected.ElementCount * type.Size());
            _memory.Add(memory);
            Fill(memory, type, expected, config, new RandomSequence(seed, first));
            first += expected.ElementCount;
            _tensors[expected.Name] = new StoredTensor(expected.Name, type, expected.Shape, memory);
        }
    }

    /// <summary>The tensors by name; valid until <see cref="Dispose"/>.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (HostMemory memory in _memory)
        {
            memory.Dispose();
        }
    }

    private static void Fill(NativeHostMemory memory, DataType type, ExpectedTensor tensor, MambaConfig config, RandomSequence random)
    {
        const long PieceElements = 1 << 20;
        Func<long, double> value = Distribution(tensor, config, random);
        Parallel.For(0, (tensor.ElementCount + PieceElements - 1) / PieceElements, piece =>
            Fill(memory, type, value, piece * PieceElements, Math.Min((piece + 1) * PieceElements, tensor.ElementCount)));
    }

    private static unsafe void Fill(NativeHostMemory memory, DataType type, Func<long, double> value, long start, long end)
    {
        for (long i = start; i < end; i++)
        {
            float drawn = (float)value(i);
            switch (type)
            {
                case DataType.Float32:
                    ((float*)memory.Pointer)[i] = drawn;
                    break;
                case DataType.BFloat16:
                    ((ushort*)memory.Pointer)[i] = WeightConversion.ToBFloat16(drawn);
                    break;
                default:
                    ((Half*)memory.Pointer)[i] = (Half)drawn;
                    break;
            }
        }
    }

    /// <summary>Numbers of any value, and zeros where rows are filled up.</summary>
    private static unsafe void FillNumbers(NativeHostMemory memory, ExpectedTensor tensor, MambaConfig config, RandomSequence random)
    {
        bool isInt8 = config.Quantization!.Type == QuantizedType.Int8;
        int rowBytes = (int)tensor.Shape[1], columns = ColumnsOf(tensor.Name, config), filled = isInt8 ? columns : columns / 8 * 4;
        byte zero = isInt8 ? (byte)0 : (byte)0x88;
        Parallel.For(0, tensor.Shape[0], row =>
        {
            byte* values = memory.Pointer + (row * rowBytes);
            for (int i = 0; i < rowBytes; i++)
            {
                int drawn = i < filled ? (int)(random.Uniform((row * rowBytes) + i) * (isInt8 ? 255 : 256)) : 0;
                values[i] = i >= filled ? zero : isInt8 ? (byte)(drawn - 127) : (byte)drawn;
            }
        });
    }

    private static unsafe void FillScales(NativeHostMemory memory, double scale) =>
        new Span<ushort>(memory.Pointer, checked((int)(memory.ByteLength / sizeof(ushort)))).Fill(WeightConversion.ToBFloat16((float)scale));

    /// <summary>The scale that gives uniform numbers the deviation of the weight that they stand for.</summary>
    private static double ScaleOf(string weight, MambaConfig config) =>
        DeviationOf(weight, config) * Math.Sqrt(3) / (config.Quantization!.Type == QuantizedType.Int8 ? 127 : 8);

    private static double DeviationOf(string weight, MambaConfig config)
    {
        int inputs = ColumnsOf(weight, config);
        return weight == TensorNames.Head ? config.InitializerRange
            : weight.EndsWith("dt_proj.weight", StringComparison.Ordinal) ? Math.Pow(inputs, -0.5) * config.TimeStepScale / Math.Sqrt(3)
            : weight.EndsWith("out_proj.weight", StringComparison.Ordinal) ? 1 / Math.Sqrt(3.0 * inputs * config.LayerCount)
            : 1 / Math.Sqrt(3.0 * inputs);
    }

    private static int ColumnsOf(string weight, MambaConfig config) =>
        weight == TensorNames.Head || weight.EndsWith("in_proj.weight", StringComparison.Ordinal) ? config.HiddenSize
        : weight.EndsWith("dt_proj.weight", StringComparison.Ordinal) ? config.TimeStepRank
        : config.IntermediateSize;

    private static Func<long, double> Distribution(ExpectedTensor tensor, MambaConfig config, RandomSequence random)
    {
        string name = tensor.Name;
        if (name.EndsWith("A_log", StringComparison.Ordinal))
        {
            return i => Math.Log((i % config.StateSize) + 1);
        }

        if (name.EndsWith("mixer.D", StringComparison.Ordinal) || name.Contains("norm", StringComparison.Ordinal))
        {
            return _ => 1;
        }

        if (name.EndsWith("dt_proj.bias", StringComparison.Ordinal))
        {
            double low = Math.Log(config.TimeStepMin), high = Math.Log(config.TimeStepMax);
            return i =>
            {
                double step = Math.Max(Math.Exp(low + (random.Uniform(i) * (high - low))), config.TimeStepFloor);
                return step + Math.Log(-Math.Exp(-step) + 1);
            };
        }

        if (name is TensorNames.Embedding or TensorNames.Head)
        {
            return i => config.InitializerRange * random.Normal(i);
        }

        double scale = name.EndsWith("out_proj.weight", StringComparison.Ordinal) ? 1 / Math.Sqrt(config.LayerCount) : 1;
        long inputs = name.Contains("conv1d", StringComparison.Ordinal) ? config.ConvKernel : tensor.Shape[^1];
        double bound = name.EndsWith("dt_proj.weight", StringComparison.Ordinal)
            ? Math.Pow(config.TimeStepRank, -0.5) * config.TimeStepScale
            : scale / Math.Sqrt(inputs);
        return i => ((2 * random.Uniform(i)) - 1) * bound;
    }
}
