using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Tokens of one text, several from a pass: a draft proposes some, the model runs the last token and these together, and a token is chosen from
/// the logits of each as long as it is the one proposed. That reads the model's weights once for all of them.
/// </summary>
/// <remarks>
/// A pass leaves a checkpoint behind the tokens that were certain. Where a proposal was wrong the state goes back to it, and the tokens after
/// it that were right are run again at the head of the next pass, not in one of their own: a few rows more, where a pass costs what reading the
/// weights does.
/// </remarks>
internal sealed class SpeculativeTokens : TokenSource
{
    private readonly MambaModel _model;
    private readonly MambaState _state;
    private readonly GeneratedSequence _sequence;
    private readonly DraftProposals _draft;
    private readonly StateCheckpoint _checkpoint;
    private readonly DecodeMemory _memory;
    private readonly HostCopy _copy;
    private readonly CapturedPasses _passes;
    private readonly OwnedParts _parts = new();
    private readonly BackgroundWork _work;
    private readonly Action<DraftCounts> _count;

    // All tokens after the prompt, and those of the pass before, some of which the caller may not have got yet.
    private readonly List<int> _chosen = [];
    private readonly List<SampledToken> _latest = [];

    private readonly long _countBefore;

    /// <summary>Prepares for a text.</summary>
    /// <param name="state">Its state, of one slot, behind the prompt.</param>
    /// <param name="sequence">The text, its first token taken.</param>
    /// <param name="options">The draft, and how many tokens it proposes.</param>
    /// <param name="count">Told what each pass gave.</param>
    public SpeculativeTokens(MambaState state, GeneratedSequence sequence, TextGeneratorOptions options, Action<DraftCounts> count)
    {
        _model = state.Model;
        _state = state;
        _countBefore = state.TokenCount();
        _sequence = sequence;
        _count = count;
        _work = new BackgroundWork(Run);
        _chosen.Add(sequence.LastId!.Value);
        try
        {
            _draft = _parts.Add(new DraftProposals(options, sequence.Request.DraftState, [.. sequence.DraftInput, .. _chosen]));
            _checkpoint = _parts.Add(state.CreateCheckpoint());
            _memory = _parts.Add(new DecodeMemory(
                _model.Backend, options.DraftTokens + 1, _model.Config.VocabularySize, sequence.Sampler.HasPenalties));
            _copy = _parts.Add(_model.Backend.CreateHostCopy(_memory.Results.Columns));
            _passes = _parts.Add(new CapturedPasses(_model.Backend));
        }
        catch
        {
            _parts.Dispose();
            throw;
        }
    }

    private int Given => _sequence.TokensTaken;

    /// <summary>How many of the chosen tokens, and of proposals after them, the state has run.</summary>
    private int TokensRun => (int)(_state.TokenCount() - _countBefore);

    public override void Join(List<GeneratedSequence> active) => _sequence.HasJoined = true;

    public override async ValueTask NextAsync(List<GeneratedSequence> active, CancellationToken cancellation)
    {
        do
        {
            cancellation.ThrowIfCancellationRequested();
            if (Given == _chosen.Count)
            {
                await _work.RunAsync().ConfigureAwait(false);
            }
        }
        while (Given == _chosen.Count);
    }

    public override SampledToken Token(GeneratedSequence sequence, int place) => _latest[Latest(Given)];

    public override float[] LogitsOf(GeneratedSequence sequence, int place)
    {
        float[] logits = new float[_model.Config.VocabularySize];
        _model.Backend.Download(_memory.Logits[0].RowRange(Latest(Given - 1), 1), logits.AsSpan());
        return logits;
    }

    public override void CopyTo(GeneratedSequence sequence, MambaState destination)
    {
        Settle();
        _state.CopyTo(destination);
    }

    public override void Dispose()
    {
        Settle();
        _draft.Leave(Given - 1);
        _parts.Dispose();
    }

    /// <summary>The place, among those of the latest pass, of a token by its number.</summary>
    private int Latest(int token) => token - (_chosen.Count - _latest.Count);

    /// <summary>A pass, or a piece of the prompt for the draft.</summary>
    private void Run()
    {
        // The last token that is asked for needs no proposals.
        int count = Math.Min(_memory.Rows - 1, _sequence.TokensLeft - 1);
        if (count > 0 && _draft.IsBehind)
        {
            _draft.CatchUp();
            return;
        }

        ReadOnlySpan<int> proposals = count > 0 ? _draft.Propose()[..count] : [];
        Pass(proposals);
        Choose(proposals);
        int accepted = _latest.Count - 1;
        _count(new DraftCounts(1, count, accepted));
        if (count > 0)
        {
            _draft.Follow(accepted);
        }

        _draft.Add(_latest[^1].Id);
        if (accepted < count)
        {
            _checkpoint.RollBack();
        }
    }

    /// <summary>Runs what was chosen and not run, and what is proposed; the checkpoint is between the two.</summary>
    private void Pass(ReadOnlySpan<int> proposals)
    {
        int[] tokens = [.. CollectionsMarshal.AsSpan(_chosen)[TokensRun..], .. proposals];
        _state.SetPendingTokens([]);
        _model.Extend(tokens, _state, _memory.Logits[0].RowRange(0, proposals.Length + 1), _passes, _checkpoint);
    }

    /// <summary>Chooses tokens as long as the proposals are right, and one more.</summary>
    private void Choose(ReadOnlySpan<int> proposals)
    {
        // What is chosen from each row has seen the proposals before it, and the random numbers that choosing them took.
        Sampler[] samplers = new Sampler[proposals.Length + 1];
        samplers[0] = _sequence.Sampler;
        for (int i = 0; i < proposals.Length; i++)
        {
            samplers[i + 1] = samplers[i].After(proposals[i]);
        }

        _memory.Upload(samplers, _model.Config.VocabularySize);
        _model.Backend.SampleTokens(_memory.Sampling(_memory.Logits[0], samplers.Length));
        _copy.Begin(_memory.Results);
        ReadOnlySpan<byte> results = _copy.Wait();
        _latest.Clear();
        do
        {
            SampledToken token = _memory.Token(results, _latest.Count);
            _sequence.Sampler.Follow(token.Id, DecodeMemory.RandomState(results, _latest.Count));
            _latest.Add(token);
            _chosen.Add(token.Id);
        }
        while (_latest.Count <= proposals.Length && _latest[^1].Id == proposals[_latest.Count - 1]);
    }

    /// <summary>Leaves the state behind all tokens that the caller has got but the last, which is pending.</summary>
    private void Settle()
    {
        if (TokensRun >= Given)
        {
            _checkpoint.RollBack();
        }

        ReadOnlySpan<int> given = CollectionsMarshal.AsSpan(_chosen)[..Given];
        if (TokensRun < Given - 1)
        {
            _model.Forward(given[TokensRun..^1], SequenceLayout.Uniform(1, Given - 1 - TokensRun), _state, []);
        }

        _state.SetPendingTokens(given[TokensRun..]);
    }
}
