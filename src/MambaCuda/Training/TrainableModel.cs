using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A Mamba language model whose weights, or an adapter of theirs, are trained: <see cref="Forward"/> leaves a tape, <see cref="Loss(ForwardTape, ReadOnlySpan{int}, float, float)"/> or a loss of the caller's own
/// gives the gradient of its end, <see cref="Backward"/> adds the gradients of all parameters to <see cref="Gradients"/>. What is done with
/// them is the optimizer's. Serves one thread at a time.
/// </summary>
public sealed class TrainableModel : IDisposable
{
    private readonly TrainingWorkspace _work;
    private readonly IModelWeights _weights;
    private readonly LayerWeights[] _layers;
    private bool _disposed;

    /// <summary>Takes the values of weights as training's start.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="tensors">
    /// All tensors that <see cref="MambaConfig.Tensors"/> names: a checkpoint's, or <see cref="RandomWeights"/>. Not needed afterwards.
    /// </param>
    /// <param name="backend">What to compute on; must outlive the model.</param>
    /// <param name="recomputation">What passes store.</param>
    /// <param name="masterWeights">
    /// Whether weights that activations are multiplied with are held in float32 too where activations have 16 bits, which is what an
    /// optimizer steps. Without, the same gradients take 4 bytes a parameter less, and <see cref="TrainedParameters.HasMasters"/> is false.
    /// </param>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    /// <exception cref="CheckpointException">The model is quantized.</exception>
    /// <exception cref="ArgumentException">A tensor is missing or mis-shaped; the message names it.</exception>
    public TrainableModel(
        MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend,
        Recomputation recomputation = Recomputation.Mixer, bool masterWeights = true)
    {
        CheckBackend(config, tensors, backend);
        Config = config;
        Backend = backend;
        Recomputation = recomputation;
        ModelParameters parameters = new(config, tensors, backend, masterWeights);
        Parameters = parameters;
        _weights = parameters;
        _layers = [.. parameters.Layers];
        Gradients = MakeGradients();
        _work = new TrainingWorkspace(config, backend, recomputation, adapter: null);
    }

    /// <summary>
    /// Freezes weights and trains an adapter of theirs. The weights are held as they would be to run the model: no float32 copy, no
    /// gradients, no moments.
    /// </summary>
    /// <param name="config">The sizes.</param>
    /// <param name="tensors">All tensors that <see cref="MambaConfig.Tensors"/> names; must outlive the model.</param>
    /// <param name="backend">What to compute on; must outlive the model.</param>
    /// <param name="adapter">The adapter.</param>
    /// <param name="seed">Decides where it begins.</param>
    /// <param name="recomputation">What passes store.</param>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    /// <exception cref="CheckpointException">The model is quantized.</exception>
    /// <exception cref="ArgumentException">A tensor is missing or mis-shaped, or a setting out of its range; the message names it.</exception>
    public TrainableModel(
        MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend, LoraSettings adapter, int seed,
        Recomputation recomputation = Recomputation.Mixer)
    {
        CheckBackend(config, tensors, backend);
        ArgumentNullException.ThrowIfNull(adapter);
        adapter.Validate();
        ExpectedTensor.CheckAll(config.Tensors(), tensors);
        Config = config;
        Backend = backend;
        Recomputation = recomputation;
        Adapter = adapter;
        BaseFingerprint = MambaModel.HashOf(config, tensors);
        _weights = MambaWeights.Load(config, tensors, backend);
        try
        {
            AdapterParameters parameters = new(config, adapter, backend, seed);
            Parameters = parameters;
            _layers = [.. _weights.Layers.Zip(parameters.Layers, (weights, adapters) => weights with { Adapters = adapters })];
        }
        catch
        {
            _weights.Dispose();
            throw;
        }

        Gradients = MakeGradients();
        _work = new TrainingWorkspace(config, backend, recomputation, adapter);
    }

    /// <summary>The model's sizes.</summary>
    public MambaConfig Config { get; }

    /// <summary>What it computes on; belongs to the caller.</summary>
    public Backend Backend { get; }

    /// <summary>What passes store, and what backward makes again.</summary>
    public Recomputation Recomputation { get; }

    /// <summary>What is trained: all of the model, or an adapter.</summary>
    public TrainedParameters Parameters { get; }

    /// <summary>The adapter that is trained while the model is frozen; null where all of the model is trained.</summary>
    public LoraSettings? Adapter { get; }

    /// <summary>Tells the frozen model from others, see <see cref="MambaModel.Fingerprint"/>; empty where none is frozen.</summary>
    public ReadOnlyMemory<byte> BaseFingerprint { get; }

    /// <summary>Their gradients.</summary>
    public ModelGradients Gradients { get; }

    /// <summary>A tape for passes of this model.</summary>
    public ForwardTape CreateTape() => new(Config, Backend, Recomputation);

    /// <summary>States of sequences at their start, all zero; or a gradient of states.</summary>
    /// <param name="slotCount">For how many sequences.</param>
    public LayerStates CreateStates(int slotCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(slotCount);
        return new LayerStates(Config, Backend, slotCount);
    }

    /// <summary>The bytes that a tape of a pass takes on the device.</summary>
    public static long TapeBytes(MambaConfig config, Backend backend, Recomputation recomputation, SequenceLayout sequences)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(sequences);
        return ForwardTape.ByteLengthFor(config, backend, recomputation, sequences);
    }

    /// <summary>Runs tokens through the model and keeps what backward needs.</summary>
    /// <param name="tokenIds">The tokens of all sequences, one sequence after the other.</param>
    /// <param name="sequences">Which tokens belong together.</param>
    /// <param name="tape">Where to keep it; what it held is overwritten.</param>
    /// <param name="states">
    /// What each sequence goes on from, left where its last token took it; null where all start at zero and nobody goes on.
    /// </param>
    /// <exception cref="ArgumentException">The lengths disagree, or a token is not in the vocabulary. Nothing has run.</exception>
    public void Forward(ReadOnlySpan<int> tokenIds, SequenceLayout sequences, ForwardTape tape, LayerStates? states = null)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentNullException.ThrowIfNull(sequences);
        ArgumentNullException.ThrowIfNull(tape);
        PassInput.CheckTokens(tokenIds, Config.VocabularySize, nameof(tokenIds));
        PassInput.CheckLength(tokenIds.Length, sequences, nameof(tokenIds));
        if (states is not null && states.SlotCount < sequences.SlotCount)
        {
            throw new ArgumentException(
                $"The sequences use {sequences.SlotCount} slots, but there are states for {states.SlotCount}.", nameof(states));
        }

        tape.Begin(sequences, states);
        _work.Cut(sequences);
        Backend.Upload(tokenIds, tape.TokenIds);
        RunForward(tape, states);
    }

    /// <summary>
    /// The mean-free cross-entropy of the pass: leaves the loss of each token and the gradient of the hidden states on the tape, and adds
    /// the head's gradient. Logits exist for a few tokens at a time only.
    /// </summary>
    /// <param name="tape">A pass.</param>
    /// <param name="targets">The right next token after each token, or <see cref="CrossEntropyArgs.IgnoredTarget"/>.</param>
    /// <param name="gradScale">
    /// What gradients are multiplied by: 1 / (targets of the whole batch) for the gradient of the mean, times a loss scale.
    /// </param>
    /// <param name="zLossWeight">See <see cref="CrossEntropyArgs.ZLossWeight"/>.</param>
    /// <exception cref="ArgumentException">The lengths disagree, or a target is not in the vocabulary. Nothing has run.</exception>
    public void Loss(ForwardTape tape, ReadOnlySpan<int> targets, float gradScale, float zLossWeight = 0) =>
        Loss(tape, targets, gradScale, zLossWeight, withGradient: true);

    /// <summary>The cross-entropy of a pass without its gradient, for validation; <see cref="ReadLoss"/> tells it.</summary>
    /// <param name="tape">A pass.</param>
    /// <param name="targets">As in <see cref="Loss(ForwardTape, ReadOnlySpan{int}, float, float)"/>.</param>
    public void Evaluate(ForwardTape tape, ReadOnlySpan<int> targets) =>
        Loss(tape, targets, gradScale: 0, zLossWeight: 0, withGradient: false);

    /// <summary>The sum of the losses that <see cref="Loss(ForwardTape, ReadOnlySpan{int}, float, float)"/> left on a tape, in double precision; waits for them.</summary>
    public double ReadLoss(ForwardTape tape)
    {
        float[] losses = new float[Recorded(tape).TotalLength];
        Backend.Download<float>(tape.Losses, losses);
        return losses.Sum(loss => (double)loss);
    }

    /// <summary>The logits of some tokens of a pass, for a loss of the caller's own.</summary>
    /// <param name="tape">A pass.</param>
    /// <param name="firstToken">The first of the tokens.</param>
    /// <param name="logits">Where to put them, (tokens, vocabulary size), Float32 or activation type.</param>
    public void Logits(ForwardTape tape, long firstToken, MatrixView logits)
    {
        Recorded(tape);
        Backend.LinearForward(new LinearForwardArgs
        {
            X = tape.Hidden.RowRange(firstToken, logits.Rows),
            Weight = _weights.Head,
            Y = logits,
        });
    }

    /// <summary>Takes the gradient of some tokens' logits: writes that of their hidden states, and adds that of the head.</summary>
    /// <param name="tape">A pass.</param>
    /// <param name="firstToken">The first of the tokens.</param>
    /// <param name="gradLogits">(tokens, vocabulary size), activation type.</param>
    public void HeadBackward(ForwardTape tape, long firstToken, MatrixView gradLogits)
    {
        Recorded(tape);
        Backend.LinearBackward(new LinearBackwardArgs
        {
            X = tape.Hidden.RowRange(firstToken, gradLogits.Rows),
            Weight = _weights.Head.Matrix,
            GradY = gradLogits,
            GradX = tape.GradHidden.RowRange(firstToken, gradLogits.Rows),
            GradWeight = Gradients.Head,
            OverwritesGradWeight = Gradients.IsFirst(Gradients.Head),
        });
    }

    /// <summary>
    /// From <see cref="ForwardTape.GradHidden"/> back through the whole pass: adds the gradients of all parameters but the head's, which
    /// the loss has added.
    /// </summary>
    /// <param name="tape">A pass; it can be run back more than once.</param>
    /// <param name="gradStates">
    /// Before: the gradient of the states after the pass, from the segment that went on from them, or zeros. After: that of the states
    /// before it. Null where no gradient flows through states.
    /// </param>
    public void Backward(ForwardTape tape, LayerStates? gradStates = null)
    {
        SequenceLayout sequences = Recorded(tape);
        if (gradStates is not null && gradStates.SlotCount < sequences.SlotCount)
        {
            throw new ArgumentException(
                $"The sequences use {sequences.SlotCount} slots, but the gradient is of {gradStates.SlotCount}.", nameof(gradStates));
        }

        Backend.Trace?.BeginPart("backward");
        _work.Cut(sequences);
        Backend.Clear(_work.GradResidual);
        NormBackward(tape.FinalResidual, _weights.FinalNorm, tape.GradHidden, _work.GradBlockOutput, Gradients.FinalNorm, default);
        for (int layer = Config.LayerCount - 1; layer >= 0; layer--)
        {
            LayerWeights weights = _layers[layer];
            Backend.Trace?.BeginPart("layer", layer);
            BlockOperands block = Block(tape, layer);
            if (Recomputation == Recomputation.Block)
            {
                Normalize(default, Residual(tape, layer), default, weights.Norm, block.Normalized);
            }

            MambaBlockBackward.Run(
                Config, weights, Gradients, layer, block, Recomputation, _work, gradStates?.Convolution(layer) ?? default,
                gradStates?.Scan(layer) ?? default, Backend);
            NormBackward(
                Residual(tape, layer), weights.Norm, _work.GradNormalized, layer == 0 ? default : _work.GradBlockOutput,
                Gradients.Layers[layer].Norm, Recomputation == Recomputation.Mixer ? block.Normalized : default);
            MambaBlockBackward.InProjectionGradients(weights, Gradients, layer, block, _work, Backend);
            Backend.Trace?.EndPart();
        }

        if (!Gradients.Embedding.IsNone)
        {
            if (Gradients.IsFirst(Gradients.Embedding))
            {
                Backend.Clear(Gradients.Embedding);
            }

            Backend.EmbeddingBackward(new EmbeddingBackwardArgs
            {
                TokenIds = tape.TokenIds,
                GradOutput = _work.GradResidual,
                GradWeight = Gradients.Embedding,
            });
        }

        Backend.Trace?.EndPart();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _work.Dispose();
            Gradients.Dispose();
            Parameters.Dispose();
            _weights.Dispose();
        }
    }

    /// <summary>
    /// Brings tokens and targets to a tape; with <see cref="Run"/> the same as <see cref="Forward"/>, loss and <see cref="Backward"/>, but
    /// that can be captured.
    /// </summary>
    /// <exception cref="ArgumentException">The lengths disagree, or a token is not in the vocabulary. Nothing has run.</exception>
    internal void Bring(ReadOnlySpan<int> tokenIds, ReadOnlySpan<int> targets, SequenceLayout sequences, ForwardTape tape)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        PassInput.CheckTokens(tokenIds, Config.VocabularySize, nameof(tokenIds));
        PassInput.CheckLength(tokenIds.Length, sequences, nameof(tokenIds));
        PassInput.CheckTokens(targets, Config.VocabularySize, nameof(targets), CrossEntropyArgs.IgnoredTarget);
        PassInput.CheckLength(targets.Length, sequences, nameof(targets));
        tape.Begin(sequences, state: null);
        _work.Cut(sequences);
        Backend.Upload(tokenIds, tape.TokenIds);
        Backend.Upload(targets, tape.Targets);
    }

    /// <summary>A whole pass over what was brought to a tape: nothing of it waits for the host or allocates.</summary>
    internal void Run(ForwardTape tape, float gradScale, float zLossWeight)
    {
        RunForward(tape, states: null);
        RunLoss(tape, gradScale, zLossWeight, withGradient: true);
        Backward(tape);
    }

    private static void CheckBackend(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(backend);
        if (!backend.CanTrain)
        {
            throw new NotSupportedException($"The {backend.Name} backend runs models but does not train them. Train on the CPU or on CUDA.");
        }

        if (config.Quantization is { } quantization)
        {
            throw new CheckpointException(
                $"The model's weights are quantized ({quantization}), and neither they nor an adapter of theirs can be trained. Train the "
                + "original checkpoint, and quantize the result by mamba-cuda convert --quantize.");
        }
    }

    private ModelGradients MakeGradients()
    {
        try
        {
            return new ModelGradients(Config, Parameters.Layout, Backend);
        }
        catch
        {
            Parameters.Dispose();
            _weights.Dispose();
            throw;
        }
    }

    /// <summary>What a layer reads and writes: what the tape keeps there, the rest in the workspace.</summary>
    private BlockOperands Block(ForwardTape tape, int layer)
    {
        LayerTape kept = tape.Layer(layer);
        return new BlockOperands
        {
            Sequences = tape.Sequences!,
            Normalized = Kept(kept.Normalized, _work.Normalized),
            InProjected = Kept(kept.InProjected, _work.InProjected),
            Inner = Kept(kept.Inner, _work.Inner),
            ScanInputs = Kept(kept.ScanInputs, _work.ScanInputs),
            Delta = Kept(kept.Delta, _work.Delta),
            Gated = _work.Gated,
            BlockOutput = _work.BlockOutput,
            ConvolutionBefore = tape.Before?.Convolution(layer) ?? default,
            ScanBefore = tape.Before?.Scan(layer) ?? default,
            Checkpoints = Kept(kept.Checkpoints, _work.Checkpoints),
            Adapters = _work.Adapters,
        };
    }

    private static MatrixView Kept(MatrixView kept, MatrixView otherwise) => kept.IsNone ? otherwise : kept;

    /// <summary>The residual stream before a layer, made from the embedding where it is the first.</summary>
    private MatrixView Residual(ForwardTape tape, int layer)
    {
        if (layer > 0)
        {
            return tape.Layer(layer).Residual;
        }

        Backend.EmbeddingForward(
            new EmbeddingForwardArgs { TokenIds = tape.TokenIds, Weight = _weights.Embedding, Output = _work.FirstResidual });
        return _work.FirstResidual;
    }

    /// <summary>
    /// Adds what the last block gave, or none, to the stream; each layer keeps its own, since backward reads all of them.
    /// </summary>
    private void Normalize(MatrixView blockOutput, MatrixView before, MatrixView residual, MatrixView weight, MatrixView normalized) =>
        Backend.AddRmsNormForward(new AddRmsNormForwardArgs
        {
            X = blockOutput,
            Residual = before,
            ResidualOut = residual,
            Weight = weight,
            Epsilon = Config.NormEpsilon,
            Y = normalized,
        });

    private void NormBackward(
        MatrixView residual, MatrixView weight, MatrixView gradNormalized, MatrixView gradBlockOutput, MatrixView gradWeight,
        MatrixView normalized) =>
        Backend.AddRmsNormBackward(new AddRmsNormBackwardArgs
        {
            Residual = residual,
            Weight = weight,
            Epsilon = Config.NormEpsilon,
            GradY = gradNormalized,
            GradResidual = _work.GradResidual,
            GradX = gradBlockOutput,
            GradWeight = gradWeight,
            Y = normalized,
        });

    private void Loss(ForwardTape tape, ReadOnlySpan<int> targets, float gradScale, float zLossWeight, bool withGradient)
    {
        SequenceLayout sequences = Recorded(tape);
        PassInput.CheckTokens(targets, Config.VocabularySize, nameof(targets), CrossEntropyArgs.IgnoredTarget);
        PassInput.CheckLength(targets.Length, sequences, nameof(targets));
        _work.Cut(sequences);
        Backend.Upload(targets, tape.Targets);
        RunLoss(tape, gradScale, zLossWeight, withGradient);
    }

    private void RunForward(ForwardTape tape, LayerStates? states)
    {
        Backend.Trace?.BeginPart("forward");
        MatrixView residual = Residual(tape, 0);
        for (int layer = 0; layer < Config.LayerCount; layer++)
        {
            Backend.Trace?.BeginPart("layer", layer);
            LayerTape kept = tape.Layer(layer);
            BlockOperands block = Block(tape, layer) with
            {
                // Where the convolution's result is not kept, the scan may write over what it reads.
                Gated = kept.Inner.IsNone ? _work.Inner : _work.Gated,
                Checkpoints = kept.Checkpoints,
                ConvolutionAfter = states?.Convolution(layer) ?? default,
                ScanAfter = states?.Scan(layer) ?? default,
            };
            Normalize(layer == 0 ? default : _work.BlockOutput, residual, kept.Residual, _layers[layer].Norm, block.Normalized);
            residual = Kept(kept.Residual, residual);
            MambaBlock.Forward(Config, _layers[layer], block, Backend);
            Backend.Trace?.EndPart();
        }

        Normalize(_work.BlockOutput, residual, tape.FinalResidual, _weights.FinalNorm, tape.Hidden);
        Backend.Trace?.EndPart();
    }

    private void RunLoss(ForwardTape tape, float gradScale, float zLossWeight, bool withGradient)
    {
        SequenceLayout sequences = Recorded(tape);
        Backend.Trace?.BeginPart("loss");
        for (long row = 0; row < sequences.TotalLength; row += _work.Logits.Rows)
        {
            long count = Math.Min(_work.Logits.Rows, sequences.TotalLength - row);
            MatrixView logits = _work.Logits.RowRange(0, count);
            MatrixView gradLogits = withGradient ? _work.GradLogits.RowRange(0, count) : default;
            Logits(tape, row, logits);
            Backend.CrossEntropy(new CrossEntropyArgs
            {
                Logits = logits,
                Targets = tape.Targets.RowRange(row, count),
                ZLossWeight = zLossWeight,
                GradScale = gradScale,
                Losses = tape.Losses.RowRange(row, count),
                GradLogits = gradLogits,
            });
            if (withGradient)
            {
                HeadBackward(tape, row, gradLogits);
            }
        }

        Backend.Trace?.EndPart();
    }

    private SequenceLayout Recorded(ForwardTape tape)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentNullException.ThrowIfNull(tape);
        return tape.Sequences ?? throw new InvalidOperationException("The tape is empty: run Forward first.");
    }
}
