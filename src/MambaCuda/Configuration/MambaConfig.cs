using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The shape of a Mamba model and how it is initialised: what a <c>config.json</c> says, in either public format.
/// Defaults are those of the Mamba paper.
/// </summary>
public sealed record MambaConfig
{
    /// <summary>The rows of the embedding: the vocabulary, padded where the checkpoint pads it.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>The width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>The number of layers.</summary>
    public required int LayerCount { get; init; }

    /// <summary>The channels of the scan; twice <see cref="HiddenSize"/> where it is not set.</summary>
    public int IntermediateSize
    {
        get => field != 0 ? field : 2 * HiddenSize;
        init;
    }

    /// <summary>The recurrent states of a channel.</summary>
    public int StateSize { get; init; } = 16;

    /// <summary>The taps of the causal convolution.</summary>
    public int ConvKernel { get; init; } = 4;

    /// <summary>
    /// The rank of the projection that makes delta; a sixteenth of <see cref="HiddenSize"/>, rounded up, where it is not set.
    /// </summary>
    public int TimeStepRank
    {
        get => field != 0 ? field : (HiddenSize + 15) / 16;
        init;
    }

    /// <summary>Whether the input and output projections of a layer have a bias.</summary>
    public bool UseBias { get; init; }

    /// <summary>Whether the convolution has a bias.</summary>
    public bool UseConvBias { get; init; } = true;

    /// <summary>The number added to the mean square in RMSNorm.</summary>
    public float NormEpsilon { get; init; } = 1e-5f;

    /// <summary>
    /// Whether the residual stream is asked to be float32 whatever the weights are. It always is: where this is false, the sums are
    /// finer than asked for.
    /// </summary>
    public bool ResidualInFloat32 { get; init; } = true;

    /// <summary>Whether the output projection is the embedding.</summary>
    public bool TieEmbeddings { get; init; } = true;

    /// <summary>The token that begins a text, where there is one.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>The tokens that end a text; may be empty.</summary>
    public TokenIdList EosTokenIds { get; init; } = [];

    /// <summary>The token that fills, where there is one.</summary>
    public int? PadTokenId { get; init; }

    /// <summary>Initialisation: the standard deviation of the embedding.</summary>
    public double InitializerRange { get; init; } = 0.02;

    /// <summary>Initialisation: whether each layer's output projection is divided by the square root of the number of layers.</summary>
    public bool RescalePrenormResidual { get; init; } = true;

    /// <summary>Initialisation: the least time step.</summary>
    public double TimeStepMin { get; init; } = 0.001;

    /// <summary>Initialisation: the greatest time step.</summary>
    public double TimeStepMax { get; init; } = 0.1;

    /// <summary>Initialisation: time steps below this are raised to it.</summary>
    public double TimeStepFloor { get; init; } = 1e-4;

    /// <summary>Initialisation: the factor of the range of the delta projection.</summary>
    public double TimeStepScale { get; init; } = 1;

    /// <summary>Initialisation: how the delta projection is drawn.</summary>
    public TimeStepInitialization TimeStepInitialization { get; init; } = TimeStepInitialization.Random;

    /// <summary>Which weights the checkpoint holds as whole numbers with scales; null where all are floats.</summary>
    public QuantizationConfig? Quantization { get; init; }

    /// <summary>Reads a <c>config.json</c>.</summary>
    /// <exception cref="CheckpointException">
    /// The file cannot be read, is not valid JSON, describes another architecture, or has a field that is unknown or out of range; the
    /// message names the field.
    /// </exception>
    public static MambaConfig Load(string path) => ConfigFile.Load(path);

    /// <summary>Reads the text of a <c>config.json</c> of either public format.</summary>
    /// <param name="utf8">The text.</param>
    /// <param name="source">What to call it in messages.</param>
    /// <exception cref="CheckpointException">As <see cref="Load"/>.</exception>
    public static MambaConfig Parse(ReadOnlySpan<byte> utf8, string source) => ConfigFile.Parse(utf8, source);

    /// <summary>The text of a <c>config.json</c> in the Hugging Face format, which transformers reads.</summary>
    /// <param name="weightType">The type of the weights beside it.</param>
    /// <exception cref="CheckpointException">A value is out of range.</exception>
    public byte[] ToJson(DataType weightType = DataType.Float32)
    {
        Validate();
        return HuggingFaceConfig.Write(this, weightType);
    }

    /// <summary>Throws where a value is out of range.</summary>
    /// <param name="source">What to call the configuration in messages.</param>
    /// <exception cref="CheckpointException">A value is out of range; the message names it.</exception>
    public void Validate(string source = "configuration") => ConfigLimits.Check(this, source);

    /// <summary>Whether both would be written as the same text: a size that was derived equals one that was set.</summary>
    public bool Equals(MambaConfig? other) =>
        ReferenceEquals(this, other) || (other is not null && Text(this).SequenceEqual(Text(other)));

    /// <inheritdoc/>
    public override int GetHashCode() =>
        HashCode.Combine(VocabularySize, HiddenSize, LayerCount, IntermediateSize, StateSize, TimeStepRank);

    /// <summary>
    /// The tensors of a model of this configuration, before any is quantized, in the order in which they are saved. <see cref="TensorNames.Head"/> is
    /// among them only where it is not tied.
    /// </summary>
    public IReadOnlyList<ExpectedTensor> Tensors()
    {
        List<ExpectedTensor> tensors = [new(TensorNames.Embedding, VocabularySize, HiddenSize)];
        for (int layer = 0; layer < LayerCount; layer++)
        {
            tensors.Add(new(TensorNames.Norm(layer), HiddenSize));
            tensors.Add(new(TensorNames.LogA(layer), IntermediateSize, StateSize));
            tensors.Add(new(TensorNames.Skip(layer), IntermediateSize));
            tensors.Add(new(TensorNames.InProjection(layer), 2L * IntermediateSize, HiddenSize));
            tensors.Add(new(TensorNames.Convolution(layer), IntermediateSize, 1, ConvKernel));
            tensors.Add(new(TensorNames.ScanProjection(layer), TimeStepRank + (2L * StateSize), IntermediateSize));
            tensors.Add(new(TensorNames.TimeStepProjection(layer), IntermediateSize, TimeStepRank));
            tensors.Add(new(TensorNames.TimeStepBias(layer), IntermediateSize));
            tensors.Add(new(TensorNames.OutProjection(layer), HiddenSize, IntermediateSize));
            if (UseConvBias)
            {
                tensors.Add(new(TensorNames.ConvolutionBias(layer), IntermediateSize));
            }

            if (UseBias)
            {
                tensors.Add(new(TensorNames.InProjectionBias(layer), 2L * IntermediateSize));
                tensors.Add(new(TensorNames.OutProjectionBias(layer), HiddenSize));
            }
        }

        tensors.Add(new(TensorNames.FinalNorm, HiddenSize));
        if (!TieEmbeddings)
        {
            tensors.Add(new(TensorNames.Head, VocabularySize, HiddenSize));
        }

        return tensors;
    }

    /// <summary>
    /// The tensors as a checkpoint holds them, in the order in which they are saved: those of <see cref="Tensors"/>, each quantized weight
    /// as its numbers and its scales (<see cref="TensorNames.Scales"/>); the head among them also where it is tied.
    /// </summary>
    public IReadOnlyList<ExpectedTensor> StoredTensors()
    {
        if (Quantization is not { } quantization)
        {
            return Tensors();
        }

        List<ExpectedTensor> stored = [];
        IEnumerable<ExpectedTensor> all = TieEmbeddings ? Tensors().Append(new(TensorNames.Head, VocabularySize, HiddenSize)) : Tensors();
        foreach (ExpectedTensor tensor in all)
        {
            if (!TensorNames.IsMultiplied(tensor.Name))
            {
                stored.Add(tensor);
                continue;
            }

            QuantizedLayout layout = quantization.Layout((int)tensor.Shape[1]);
            stored.Add(new(tensor.Name, layout.StoredType, [tensor.Shape[0], layout.RowBytes]));
            stored.Add(new(TensorNames.Scales(tensor.Name), DataType.BFloat16, [tensor.Shape[0], layout.Groups]));
        }

        return stored;
    }

    private static ReadOnlySpan<byte> Text(MambaConfig config) => HuggingFaceConfig.Write(config, DataType.Float32);
}

/// <summary>How the weights of the delta projection are drawn.</summary>
public enum TimeStepInitialization
{
    /// <summary>Uniform between minus and plus scale / sqrt(rank).</summary>
    Random,

    /// <summary>All scale / sqrt(rank).</summary>
    Constant,
}
