using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The parameters of an adapter that is trained. At first every A is uniform in +-1 / sqrt(inputs), as PyTorch's and PEFT's kaiming_uniform
/// with a = sqrt(5) is, and every B zero: the model begins as its base is.
/// </summary>
public sealed class AdapterParameters : TrainedParameters
{
    private readonly MambaConfig _config;

    internal AdapterParameters(MambaConfig config, LoraSettings settings, Backend backend, int seed)
        : base(new ParameterLayout(settings.Tensors(config)), backend)
    {
        _config = config;
        Settings = settings;
        try
        {
            long first = 0;
            foreach (ParameterSlot slot in Layout.Slots.Where(slot => !slot.Turned))
            {
                RandomSequence random = new(seed, first);
                double bound = 1 / Math.Sqrt(slot.Columns);
                float[] values = new float[slot.ElementCount];
                for (int i = 0; i < values.Length; i++)
                {
                    values[i] = (float)(((2 * random.Uniform(i)) - 1) * bound);
                }

                Upload(slot, values);
                first += slot.ElementCount;
            }

            Layers = [.. Enumerable.Range(0, config.LayerCount).Select(layer => LayerAdapters.Of(layer, Projection))];
        }
        catch
        {
            Dispose(true);
            throw;
        }
    }

    /// <summary>Rank, scale and projections.</summary>
    public LoraSettings Settings { get; }

    internal IReadOnlyList<LayerAdapters> Layers { get; }

    /// <summary>Overwrites all parameters with an adapter's.</summary>
    public override void Load(IReadOnlyDictionary<string, StoredTensor> tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ExpectedTensor.CheckAll(Settings.Tensors(_config), tensors);
        foreach (ParameterSlot slot in Layout.Slots)
        {
            Load(slot, tensors[slot.Name]);
        }
    }

    /// <summary>Nothing is derived from them.</summary>
    public override void Refresh()
    {
    }
}
