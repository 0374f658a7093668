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
    private readonly MambaState _state;
    private readonly StateCheckpoint _checkpoint;
    private readonly DecodeMemory _memory;
    private readonly DeviceBuffer _chosen;
    private readonly List<int> _notRun;
    private readonly int[] _proposals;
    private readonly int _promptPiece;
    private readonly CapturedPasses _passes;

    /// <summary>Prepares the guesses for a sequence.</summary>
    /// <param name="model">The draft.</param>
    /// <param name="tokens">The sequence so far, as far as it is known.</param>
    /// <param name="count">How many tokens to propose at once.</param>
    /// <param name="promptPiece">How many of the sequence's tokens run at once.</param>
    public DraftProposals(MambaModel model, IEnumerable<int> tokens, int count, int promptPiece)
    {
        _model = model;
        _backend = model.Backend;
        _notRun = [.. tokens];
        _passes = new CapturedPasses(_backend);
        _proposals = new int[count];
        _promptPiece = Math.Min(promptPiece, model.ChunkTokens);
        Stack<IDisposable> made = [];
        try
        {
            made.Push(_state = model.CreateState());
            made.Push(_checkpoint = _state.CreateCheckpoint());
            made.Push(_memory = new DecodeMemory(_backend, 1, model.Config.VocabularySize, hasCounts: false));
            made.Push(_chosen = _backend.Allocate((long)count * sizeof(int)));
            _memory.Upload([new Sampler(SamplingOptions.Greedy, model.Config.VocabularySize)], model.Config.VocabularySize);
        }
        catch
        {
            while (made.TryPop(out IDisposable? part))
            {
                part.Dispose();
            }

            throw;
        }
    }

    /// <summary>Whether there is more to run before a proposal than a piece.</summary>
    public bool IsBehind => _notRun.Count > _promptPiece;

    /// <summary>Runs a piece of what it is behind.</summary>
    public void CatchUp()
    {
        _model.Forward(CollectionsMarshal.AsSpan(_notRun)[.._promptPiece], SequenceLayout.Uniform(1, _promptPiece), _state, []);
        _notRun.RemoveRange(0, _promptPiece);
    }

    /// <summary>Guesses the next tokens.</summary>
    public ReadOnlySpan<int> Propose()
    {
        _model.Extend(CollectionsMarshal.AsSpan(_notRun), _state, _memory.Logits[0], _passes);
        _notRun.Clear();
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

    /// <summary>Tells how the sequence went on after <see cref="Propose"/>.</summary>
    /// <param name="accepted">How many of the proposals were right.</param>
    /// <param name="next">The token after those.</param>
    public void Follow(int accepted, int next)
    {
        if (accepted == _proposals.Length)
        {
            // The last proposal is the only one that was not run.
            _notRun.Add(_proposals[^1]);
        }
        else
        {
            _checkpoint.RollBack();
            _notRun.AddRange(_proposals.AsSpan(0, accepted));
        }

        _notRun.Add(next);
    }

    public void Dispose()
    {
        _passes.Dispose();
        _chosen.Dispose();
        _memory.Dispose();
        _checkpoint.Dispose();
        _state.Dispose();
    }

    /// <summary>The steps between the first proposal and the last. The pass before has made room for them.</summary>
    private void Steps()
    {
        for (int i = 1; i < _proposals.Length; i++)
        {
            _model.Step(Proposal(i - 1), One, _state, _state, _memory.Logits[0]);
            Choose(i);
        }
    }

    private void Choose(int i) => _backend.SampleTokens(new SampleTokensArgs
    {
        Logits = _memory.Logits[0],
        Options = _memory.Options,
        RandomStates = _memory.RandomStates,
        TokenIds = Proposal(i),
        LogProbabilities = _memory.LogProbabilities,
    });

    private MatrixView Proposal(int i) => _chosen.Matrix(DataType.Int32, 1, 1, (long)i * sizeof(int));
}
