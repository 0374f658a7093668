using System.Security.Cryptography;
using System.Text;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A Mamba language model on a backend: whole sequences, continued sequences and single tokens through one method, <see cref="Forward"/>,
/// because between two tokens a sequence is nothing but its <see cref="MambaState"/>. Serves one thread at a time.
/// </summary>
public sealed class MambaModel : IDisposable
{
    private readonly IDisposable? _source;
    private readonly MambaWeights _weights;
    private readonly ForwardWorkspace _work;
    private readonly byte[] _fingerprint;

    private MambaModel(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend, IDisposable? source)
    {
        Config = config;
        Backend = backend;
        _source = source;
        _fingerprint = HashOf(config, tensors);
        ParameterCount = config.Tensors().Sum(tensor => tensor.ElementCount);
        WeightType = backend.WeightTypeFor(tensors[TensorNames.Embedding].Type);
        _weights = MambaWeights.Load(config, tensors, backend);
        _work = new ForwardWorkspace(config, backend);
    }

    /// <summary>The model's sizes.</summary>
    public MambaConfig Config { get; }

    /// <summary>What it computes on; belongs to the caller.</summary>
    public Backend Backend { get; }

    /// <summary>
    /// How many tokens run through the model at once at most; longer inputs are cut, so memory does not grow with their length. What the
    /// backend prefers, or fewer where memory was short.
    /// </summary>
    public int ChunkTokens => _work.ChunkTokens;

    /// <summary>The number of weights, tied ones counted once.</summary>
    public long ParameterCount { get; }

    /// <summary>The bytes of all weights on the device.</summary>
    public long WeightBytes => _weights.ByteLength;

    /// <summary>The type in which the device holds the embedding, and so usually all projections that are not quantized.</summary>
    public DataType WeightType { get; }

    /// <summary>Tells this model from others: a hash of its configuration, its tensors' shapes, and the first bytes of each.</summary>
    public ReadOnlySpan<byte> Fingerprint => _fingerprint;

    /// <summary>Loads a checkpoint's weights and takes it over: it is closed with the model.</summary>
    /// <param name="checkpoint">An opened checkpoint.</param>
    /// <param name="backend">What to compute on; must outlive the model.</param>
    /// <param name="progress">Told how many bytes of the weights have been read.</param>
    /// <param name="cancellation">Stops loading; the checkpoint is closed.</param>
    /// <exception cref="OperationCanceledException">Loading was cancelled.</exception>
    public static MambaModel Load(
        Checkpoint checkpoint, Backend backend, IProgress<LoadProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        ArgumentNullException.ThrowIfNull(backend);
        try
        {
            LoadProgress.ReadAll(checkpoint.Tensors, progress, cancellation);
            return new MambaModel(checkpoint.Config, checkpoint.Tensors, backend, checkpoint);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>Opens a checkpoint folder (see <see cref="Checkpoint.Open"/>) and loads it.</summary>
    /// <param name="directory">A folder with config.json and weights.</param>
    /// <param name="backend">What to compute on; must outlive the model.</param>
    /// <param name="progress">Told how many bytes of the weights have been read.</param>
    /// <param name="cancellation">Stops loading.</param>
    public static MambaModel Load(
        string directory, Backend backend, IProgress<LoadProgress>? progress = null, CancellationToken cancellation = default) =>
        Load(Checkpoint.Open(directory), backend, progress, cancellation);

    /// <summary>
    /// Loads a checkpoint's weights with an adapter merged into them, and takes the checkpoint over: it is closed with the model.
    /// </summary>
    /// <param name="checkpoint">An opened checkpoint.</param>
    /// <param name="adapter">An adapter of such a model; not needed afterwards.</param>
    /// <param name="backend">What to compute on; must outlive the model.</param>
    /// <param name="progress">Told how many bytes of the weights have been read.</param>
    /// <param name="cancellation">Stops loading; the checkpoint is closed.</param>
    /// <exception cref="OperationCanceledException">Loading was cancelled.</exception>
    public static MambaModel Load(
        Checkpoint checkpoint, LoraAdapter adapter, Backend backend, IProgress<LoadProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        ArgumentNullException.ThrowIfNull(backend);
        MergedWeights? merged = null;
        try
        {
            LoadProgress.ReadAll(checkpoint.Tensors, progress, cancellation);
            merged = new MergedWeights(checkpoint.Tensors, adapter);
            return new MambaModel(checkpoint.Config, merged.Tensors, backend, new Together(merged, checkpoint));
        }
        catch
        {
            merged?.Dispose();
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>A model with weights from elsewhere, for instance <see cref="RandomWeights"/>.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="tensors">All tensors that <see cref="MambaConfig.StoredTensors"/> names; must outlive the model.</param>
    /// <param name="backend">What to compute on; must outlive the model.</param>
    public static MambaModel Create(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors, Backend backend)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(backend);
        ExpectedTensor.CheckAll(config.StoredTensors(), tensors);
        return new MambaModel(config, tensors, backend, source: null);
    }

    /// <summary>States at their start.</summary>
    /// <param name="slotCount">For how many sequences.</param>
    public MambaState CreateState(int slotCount = 1)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return new MambaState(this, slotCount);
    }

    /// <summary>The bytes of device memory that a pass takes besides weights and states.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="backend">What to compute on.</param>
    /// <param name="tokens">The number of tokens; above <see cref="Backend.PreferredChunkTokens"/> no more memory is needed.</param>
    public static long WorkspaceBytes(MambaConfig config, Backend backend, long tokens)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(backend);
        return ForwardWorkspace.ByteLengthFor(config, backend, tokens);
    }

    /// <summary>
    /// Allocates what passes of up to so many tokens take, so that none of them allocates device memory for activations. Where memory is
    /// short, longer passes will be cut into smaller chunks.
    /// </summary>
    /// <param name="tokens">The tokens of the longest pass.</param>
    /// <exception cref="InsufficientMemoryException">There is not even room for a small chunk; the message says how much it
    /// takes.</exception>
    public void Reserve(long tokens)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(tokens);
        _work.Reserve(tokens);
    }

    /// <summary>
    /// Runs tokens of one or several sequences, each going on from its state, which is left where the last token took it.
    /// </summary>
    /// <param name="tokenIds">The tokens of all sequences, one sequence after the other.</param>
    /// <param name="sequences">Which tokens belong together, and the state slot of each sequence.</param>
    /// <param name="state">The states; those of other slots are not touched.</param>
    /// <param name="logits">
    /// Where to put logits over the vocabulary: of the last token of each sequence, (sequences, vocabulary), or with
    /// <paramref name="every"/> of each token, (tokens, vocabulary); or empty where none are wanted.
    /// </param>
    /// <param name="every">Whether the logits of every token are wanted.</param>
    /// <exception cref="ArgumentException">The lengths disagree, a token id is not in the vocabulary, or the state is another model's.
    /// Nothing has run.</exception>
    public void Forward(ReadOnlySpan<int> tokenIds, SequenceLayout sequences, MambaState state, Span<float> logits, bool every = false)
    {
        Check(tokenIds, sequences, state);
        long rows = every ? tokenIds.Length : sequences.Count;
        if (!logits.IsEmpty && logits.Length != rows * Config.VocabularySize)
        {
            throw new ArgumentException(
                $"{rows} rows of {Config.VocabularySize} logits do not fit into {logits.Length} values.", nameof(logits));
        }

        _work.Reserve(tokenIds.Length);
        ForwardChunks chunks = new(sequences, ChunkTokens);
        while (chunks.MoveNext())
        {
            RunBlocks(tokenIds.Slice(chunks.Start, chunks.Length), chunks.Layout, state);
            if (logits.IsEmpty)
            {
                continue;
            }

            if (every)
            {
                EveryLogits(logits.Slice(chunks.Start * Config.VocabularySize, chunks.Length * Config.VocabularySize));
            }
            else
            {
                LastLogits(chunks, logits);
            }
        }
    }

    /// <summary>
    /// Runs tokens as <see cref="Forward"/> does and tells how probable given tokens were, without bringing the logits to the host.
    /// </summary>
    /// <param name="tokenIds">The tokens of all sequences.</param>
    /// <param name="targetIds">For each token, the one to judge: usually the token after it.</param>
    /// <param name="sequences">Which tokens belong together, and the state slot of each sequence.</param>
    /// <param name="state">The states.</param>
    /// <param name="logProbabilities">The natural logarithm of each target's probability, one a token.</param>
    /// <exception cref="ArgumentException">As there. Nothing has run.</exception>
    public void Score(
        ReadOnlySpan<int> tokenIds, ReadOnlySpan<int> targetIds, SequenceLayout sequences, MambaState state, Span<float> logProbabilities)
    {
        Check(tokenIds, sequences, state);
        PassInput.CheckTokens(targetIds, Config.VocabularySize, nameof(targetIds));
        if (targetIds.Length != tokenIds.Length || logProbabilities.Length != tokenIds.Length)
        {
            throw new ArgumentException(
                $"{tokenIds.Length} tokens need as many targets and results, but there are {targetIds.Length} and "
                + $"{logProbabilities.Length}.",
                nameof(targetIds));
        }

        _work.Reserve(tokenIds.Length);
        ForwardChunks chunks = new(sequences, ChunkTokens);
        while (chunks.MoveNext())
        {
            RunBlocks(tokenIds.Slice(chunks.Start, chunks.Length), chunks.Layout, state);
            for (int row = 0; row < chunks.Length; row += _work.LogitsRows)
            {
                int count = Math.Min(_work.LogitsRows, chunks.Length - row);
                MatrixView targets = _work.RowNumbers.RowRange(0, count);
                MatrixView results = _work.LogProbabilities.RowRange(0, count);
                Backend.Upload(targetIds.Slice(chunks.Start + row, count), targets);
                Backend.LogProbabilities(new LogProbabilitiesArgs
                {
                    Logits = Head(_work.Normalized.RowRange(row, count)),
                    TokenIds = targets,
                    Output = results,
                });
                Backend.Download(results, logProbabilities.Slice(chunks.Start + row, count));
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _work.Dispose();
            _weights.Dispose();
            _source?.Dispose();
        }
    }

    private bool _disposed;

    private void Check(ReadOnlySpan<int> tokenIds, SequenceLayout sequences, MambaState state)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentNullException.ThrowIfNull(sequences);
        ArgumentNullException.ThrowIfNull(state);
        if (state.Model != this)
        {
            throw new ArgumentException("The state is another model's.", nameof(state));
        }

        PassInput.CheckLength(tokenIds.Length, sequences, nameof(tokenIds));
        if (sequences.SlotCount > state.SlotCount)
        {
            throw new ArgumentException(
                $"The sequences use {sequences.SlotCount} slots, but the state has {state.SlotCount}.", nameof(sequences));
        }

        PassInput.CheckTokens(tokenIds, Config.VocabularySize, nameof(tokenIds));
    }

    /// <summary>
    /// One token of each sequence, all of it on the device: nothing is uploaded, waited for or noted in the states, so that it can be
    /// captured. The workspace must have been reserved.
    /// </summary>
    /// <param name="tokenIds">The tokens, (sequences, 1).</param>
    /// <param name="sequences">One token each.</param>
    /// <param name="before">The states to go on from.</param>
    /// <param name="after">Where to leave them; may be the same.</param>
    /// <param name="logits">Those after each token, (sequences, vocabulary).</param>
    internal void Step(MatrixView tokenIds, SequenceLayout sequences, MambaState before, MambaState after, MatrixView logits)
    {
        _work.Cut(sequences.Count);
        (MatrixView residual, MatrixView other) = RunLayers(tokenIds, sequences, before, after);
        if (!ForwardWorkspace.TakesSteps(sequences.Count))
        {
            AddNorm(_work.BlockOutput, residual, _weights.FinalNorm);
            Head(_work.Normalized, logits);
            return;
        }

        Backend.AddRmsNormLinear(new AddRmsNormLinearArgs
        {
            X = _work.BlockOutput,
            Residual = residual,
            ResidualOut = other,
            NormWeight = _weights.FinalNorm,
            Epsilon = Config.NormEpsilon,
            Weight = _weights.Head,
            NormWork = _work.Normalized,
            Y = logits,
        });
    }

    /// <summary>
    /// Runs tokens of a state's only sequence and leaves the logits on the device. With a checkpoint, in the same pass, leaves that behind the
    /// token whose logits come first, so that the state can go back there when the tokens after it turn out to be wrong.
    /// </summary>
    /// <param name="tokenIds">The tokens, at most <see cref="ChunkTokens"/> of them.</param>
    /// <param name="state">The state, of one slot.</param>
    /// <param name="logits">Those of the last tokens, as many as it has rows, (rows, vocabulary).</param>
    /// <param name="passes">The passes so far with this memory, to be run as they were captured.</param>
    /// <param name="checkpoint">The state's; or null.</param>
    internal void Extend(
        ReadOnlySpan<int> tokenIds, MambaState state, MatrixView logits, CapturedPasses passes, StateCheckpoint? checkpoint = null)
    {
        int count = tokenIds.Length, rows = (int)logits.Rows, certain = count - rows + 1;
        SequenceLayout sequence = SequenceLayout.Uniform(1, count);
        Check(tokenIds, sequence, state);
        _work.Reserve(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, ChunkTokens, nameof(tokenIds));
        _work.Cut(count);
        Backend.Upload(tokenIds, _work.TokenIds);
        SplitPass? split = checkpoint is null || rows == 1
            ? null
            : new SplitPass(SequenceLayout.Uniform(1, certain), SequenceLayout.Uniform(1, rows - 1), checkpoint.Saved);
        passes.Run(count, rows, () =>
        {
            (MatrixView residual, _) = RunLayers(_work.TokenIds, sequence, state, state, split);
            AddNorm(_work.BlockOutput, residual, _weights.FinalNorm);
            Head(_work.Normalized.RowRange(certain - 1, rows), logits);
        });
        if (split is not null)
        {
            split.Between.SetTokenCount(state.TokenCount() + certain, 0);
            split.Between.SetPendingTokens([]);
        }

        state.Advance(sequence);
        if (split is null)
        {
            checkpoint?.Take();
        }
    }

    /// <summary>The same as one operation for these very operands, or null where the backend has none.</summary>
    internal PreparedDecodeStep? PrepareStep(MatrixView tokenIds, SequenceLayout sequences, MambaState before, MambaState after, MatrixView logits)
    {
        if (_weights.Layers.Any(layer => !layer.InProjectionBias.IsNone || !layer.OutProjectionBias.IsNone))
        {
            return null;
        }

        return Backend.PrepareDecodeStep(new DecodeStepArgs
        {
            Sequences = sequences,
            TokenIds = tokenIds,
            Embedding = _weights.Embedding,
            Layers = [.. _weights.Layers.Select((weights, layer) => MambaBlock.WholeStep(weights, layer, before.Layers, after.Layers))],
            FinalNormWeight = _weights.FinalNorm,
            Epsilon = Config.NormEpsilon,
            Head = _weights.Head,
            Logits = logits,
        });
    }

    /// <summary>Embedding, all blocks and the last norm; leaves the result in the workspace's Normalized.</summary>
    private void RunBlocks(ReadOnlySpan<int> tokenIds, SequenceLayout sequences, MambaState state)
    {
        _work.Cut(tokenIds.Length);
        Backend.Upload(tokenIds, _work.TokenIds);
        (MatrixView residual, _) = RunLayers(_work.TokenIds, sequences, state, state);
        AddNorm(_work.BlockOutput, residual, _weights.FinalNorm);
        state.Advance(sequences);
    }

    /// <summary>
    /// Embedding and all blocks; the last one's output is still to be added to the residual stream. Gives that, and memory of its shape.
    /// </summary>
    private (MatrixView Residual, MatrixView Other) RunLayers(
        MatrixView tokenIds, SequenceLayout sequences, MambaState before, MambaState after, SplitPass? split = null)
    {
        Backend.EmbeddingForward(new EmbeddingForwardArgs { TokenIds = tokenIds, Weight = _weights.Embedding, Output = _work.Residual });
        (MatrixView residual, MatrixView other) = (_work.Residual, _work.OtherResidual);
        bool inSteps = sequences.MaxLength == 1 && ForwardWorkspace.TakesSteps(sequences.Count);
        for (int layer = 0; layer < Config.LayerCount; layer++)
        {
            LayerWeights weights = _weights.Layers[layer];
            BlockOperands block = _work.Block(sequences, layer, before, after);
            Backend.Trace?.BeginPart("layer", layer);
            if (!inSteps)
            {
                AddNorm(layer == 0 ? default : _work.BlockOutput, residual, weights.Norm);
                if (split is null)
                {
                    MambaBlock.Forward(Config, weights, block, Backend);
                }
                else
                {
                    MambaBlock.ForwardInParts(Config, weights, block, split.Parts(block, layer, before, after), Backend);
                }
            }
            else if (layer == 0)
            {
                MambaBlock.Step(Config, weights, block, new AddRmsNormLinearArgs { Residual = residual }, Backend);
            }
            else
            {
                AddRmsNormLinearArgs sum = new() { X = _work.BlockOutput, Residual = residual, ResidualOut = other };
                MambaBlock.Step(Config, weights, block, sum, Backend);
                (residual, other) = (other, residual);
            }

            Backend.Trace?.EndPart();
        }

        return (residual, other);
    }

    private void AddNorm(MatrixView blockOutput, MatrixView residual, MatrixView weight) => Backend.AddRmsNormForward(new AddRmsNormForwardArgs
    {
        X = blockOutput,
        Residual = residual,
        Weight = weight,
        Epsilon = Config.NormEpsilon,
        Y = _work.Normalized,
    });

    private MatrixView Head(MatrixView hidden)
    {
        MatrixView logits = _work.Logits.RowRange(0, hidden.Rows);
        Head(hidden, logits);
        return logits;
    }

    private void Head(MatrixView hidden, MatrixView logits) =>
        Backend.LinearForward(new LinearForwardArgs { X = hidden, Weight = _weights.Head, Y = logits, WeightIsAtRest = true });

    private void EveryLogits(Span<float> logits)
    {
        int rows = logits.Length / Config.VocabularySize;
        for (int row = 0; row < rows; row += _work.LogitsRows)
        {
            int count = Math.Min(_work.LogitsRows, rows - row);
            Backend.Download(
                Head(_work.Normalized.RowRange(row, count)), logits.Slice(row * Config.VocabularySize, count * Config.VocabularySize));
        }
    }

    /// <summary>The logits of those sequences whose last token is in this chunk.</summary>
    private void LastLogits(in ForwardChunks chunks, Span<float> logits)
    {
        Span<int> rows = stackalloc int[_work.LogitsRows];
        for (int first = 0; first < chunks.EndingCount; first += _work.LogitsRows)
        {
            int count = Math.Min(_work.LogitsRows, chunks.EndingCount - first);
            for (int i = 0; i < count; i++)
            {
                rows[i] = checked((int)chunks.Layout.Starts[first + i + 1]) - 1;
            }

            MatrixView indices = _work.RowNumbers.RowRange(0, count);
            MatrixView gathered = _work.Gathered.RowRange(0, count);
            Backend.Upload((ReadOnlySpan<int>)rows[..count], indices);
            Backend.GatherRows(new GatherRowsArgs { Source = _work.Normalized, Indices = indices, Destination = gathered });
            Backend.Download(
                Head(gathered), logits.Slice((chunks.FirstSequence + first) * Config.VocabularySize, count * Config.VocabularySize));
        }
    }

    /// <summary>See <see cref="Fingerprint"/>.</summary>
    internal static byte[] HashOf(MambaConfig config, IReadOnlyDictionary<string, StoredTensor> tensors)
    {
        const int SampleBytes = 4096;
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(config.ToJson());
        foreach (ExpectedTensor expected in config.StoredTensors())
        {
            StoredTensor tensor = tensors[expected.Name];
            hash.AppendData(Encoding.UTF8.GetBytes(tensor.ToString()));
            hash.AppendData(tensor.Memory.Span(tensor.ByteOffset, (int)Math.Min(SampleBytes, tensor.ByteLength)));
        }

        return hash.GetHashAndReset();
    }

    /// <summary>A pass in two parts, for the state between them.</summary>
    private sealed record SplitPass(SequenceLayout First, SequenceLayout Second, MambaState Between)
    {
        public BlockOperands[] Parts(in BlockOperands block, int layer, MambaState before, MambaState after) =>
        [
            block.Part(0, First, layer, before, Between),
            block.Part(First.TotalLength, Second, layer, Between, after),
        ];
    }

    private sealed class Together(params IDisposable[] parts) : IDisposable
    {
        public void Dispose() => Array.ForEach(parts, part => part.Dispose());
    }
}
