using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A small model that guesses how a sequence goes on: the most probable token, some times in a row, chosen on the device without the host
/// between two of them. What it guessed wrong is undone by a checkpoint of its state.
/// </summary>
internal sealed class DraftProposals : IDisposable
{
    private static readonly SequenceLayout One = SequenceLayout.Uniform(1, 1);

    private readonly MambaModel _model;
    private readonly Backend _backend;
    private readonly MambaState? _given;
    private readonly MambaState _state;
    private readonly StateCheckpoint _checkpoint;
    private readonly DecodeMemory _memory;
    private readonly DeviceBuffer _chosen;
    private readonly CapturedPasses _passes;
    private readonly OwnedParts _parts = new();
    private readonly int[] _proposals;
    private readonly int _promptPiece;
    private readonly int _known;
    private readonly long _countBefore;

    // Those that are certain; the state may have run proposals after them.
    private readonly List<int> _tokens;

    /// <summary>Prepares the guesses for a sequence.</summary>
    /// <param name="options">The draft, how many tokens to propose at once, and how many of a long beginning run at once.</param>
    /// <param name="state">The draft's state to go on from, which is run in place; or null for one that starts anew.</param>
    /// <param name="tokens">What that has not run of the sequence so far.</param>
    public DraftProposals(TextGeneratorOptions options, MambaState? state, IEnumerable<int> tokens)
    {
        _model = options.Draft!;
        _backend = _model.Backend;
        _given = state;
        _tokens = [.. tokens];
        _known = _tokens.Count;
        _proposals = new int[options.DraftTokens];
        _promptPiece = Math.Min(options.PromptChunkTokens, _model.ChunkTokens);
        int vocabulary = _model.Config.VocabularySize;
        try
        {
            _state = state ?? _parts.Add(_model.CreateState());
            _countBefore = _state.TokenCount();
            _checkpoint = _parts.Add(_state.CreateCheckpoint());
            _memory = _parts.Add(new DecodeMemory(_backend, 1, vocabulary, hasCounts: false));
            _chosen = _parts.Add(_backend.Allocate((long)_proposals.Length * sizeof(int)));
            _passes = _parts.Add(new CapturedPasses(_backend));
            _memory.Upload([new Sampler(SamplingOptions.Greedy, vocabulary)], vocabulary);
        }
        catch
        {
            _parts.Dispose();
            throw;
        }
    }

    /// <summary>Whether there is more to run before a proposal than a piece.</summary>
    public bool IsBehind => NotRun.Length > _promptPiece;

    /// <summary>How many of the tokens, and of proposals after them, the state has run.</summary>
    private int TokensRun => (int)(_state.TokenCount() - _countBefore);

    private ReadOnlySpan<int> NotRun => CollectionsMarshal.AsSpan(_tokens)[TokensRun..];

    /// <summary>Runs a piece of what it is behind.</summary>
    public void CatchUp()
    {
        _model.Forward(NotRun[.._promptPiece], SequenceLayout.Uniform(1, _promptPiece), _state, []);
        _checkpoint.Take();
    }

    /// <summary>Guesses the next tokens.</summary>
    public ReadOnlySpan<int> Propose()
    {
        _model.Extend(NotRun, _state, _memory.Logits[0], _passes);
        _checkpoint.Take();
        Choose(0);
        if (_proposals.Length > 1)
        {
            _passes.Run(0, _proposals.Length, Steps);
            _state.SetTokenCount(_state.TokenCount() + _proposals.Length - 1, 0);
        }

        _backend.Download(_chosen.Matrix(DataType.Int32, _proposals.Length, 1), _proposals.AsSpan());
        return _proposals;
    }

    /// <summary>Tells how many of the proposals were right. Where all were, the state has run all but the last.</summary>
    public void Follow(int accepted)
    {
        if (accepted < _proposals.Length)
        {
            _checkpoint.RollBack();
        }

        _tokens.AddRange(_proposals.AsSpan(0, accepted));
    }

    /// <summary>Tells the next token of the sequence.</summary>
    public void Add(int token) => _tokens.Add(token);

    /// <summary>Leaves a state that was given behind what it had not run at first and so many tokens more; those not run are pending.</summary>
    public void Leave(int more)
    {
        int count = _known + more;
        if (TokensRun > count)
        {
            _checkpoint.RollBack();
        }

        _given?.SetPendingTokens(CollectionsMarshal.AsSpan(_tokens)[TokensRun..count]);
    }

    public void Dispose() => _parts.Dispose();

    /// <summary>The steps between the first proposal and the last. The pass before has made room for them.</summary>
    private void Steps()
    {
        for (int i = 1; i < _proposals.Length; i++)
        {
            _model.Step(Proposal(i - 1), One, _state, _state, _memory.Logits[0]);
            Choose(i);
        }
    }

    private void Choose(int i) => _backend.SampleTokens(_memory.Sampling(_memory.Logits[0], 1) with { TokenIds = Proposal(i) });

    private MatrixView Proposal(int i) => _chosen.Matrix(DataType.Int32, 1, 1, (long)i * sizeof(int));
}
