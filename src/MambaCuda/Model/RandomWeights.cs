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
    /// <param name="projectionType">The type of embedding and projections: a weight type. Everything else is Float32.</param>
    /// <param name="seed">The same seed gives the same weights.</param>
    public RandomWeights(MambaConfig config, DataType projectionType, int seed)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (!projectionType.IsWeightType())
        {
            throw new ArgumentOutOfRangeException(nameof(projectionType), projectionType, "Weights are Float32, BFloat16 or Float16.");
        }

        Random random = new(seed);
        foreach (ExpectedTensor expected in config.Tensors())
        {
            bool projection = expected.Shape.Length == 2 && !expected.Name.EndsWith("A_log", StringComparison.Ordinal);
            DataType type = projection ? projectionType : DataType.Float32;
            NativeHostMemory memory = new(expected.ElementCount * type.Size());
            _memory.Add(memory);
            Fill(memory, type, expected, config, random);
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

    private static unsafe void Fill(NativeHostMemory memory, DataType type, ExpectedTensor tensor, MambaConfig config, Random random)
    {
        Func<long, double> value = Distribution(tensor, config, random);
        for (long i = 0; i < tensor.ElementCount; i++)
        {
            float drawn = (float)value(i);
            switch (type)
            {
                case DataType.Float32:
                    ((float*)memory.Pointer)[i] = drawn;
                    break;
                case DataType.BFloat16:
                    ((ushort*)memory.Pointer)[i] = (ushort)(BitConverter.SingleToUInt32Bits(drawn) >> 16);
                    break;
                default:
                    ((Half*)memory.Pointer)[i] = (Half)drawn;
                    break;
            }
        }
    }

    private static Func<long, double> Distribution(ExpectedTensor tensor, MambaConfig config, Random random)
    {
        double Uniform(double bound) => ((2 * random.NextDouble()) - 1) * bound;
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
            return _ =>
            {
                double step = Math.Max(Math.Exp(low + (random.NextDouble() * (high - low))), config.TimeStepFloor);
                return step + Math.Log(-Math.Exp(-step) + 1);
            };
        }

        if (name is TensorNames.Embedding or TensorNames.Head)
        {
            // Box and Muller's transform of two uniform numbers to a normal one.
            return _ => config.InitializerRange * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        }

        if (name.EndsWith("dt_proj.weight", StringComparison.Ordinal))
        {
            return _ => Uniform(Math.Pow(config.TimeStepRank, -0.5) * config.TimeStepScale);
        }

        double scale = name.EndsWith("out_proj.weight", StringComparison.Ordinal) ? 1 / Math.Sqrt(config.LayerCount) : 1;
        long inputs = name.Contains("conv1d", StringComparison.Ordinal) ? config.ConvKernel : tensor.Shape[^1];
        return _ => Uniform(scale / Math.Sqrt(inputs));
    }
}
