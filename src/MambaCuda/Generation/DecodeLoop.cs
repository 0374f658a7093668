using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A batch of sequences that grow by a token each, step after step, all on the device: embedding, layers, logits and the choice of the next
/// tokens, which are the input of the next step. Where the backend can capture operations, a step is one call, and it is put in before the
/// tokens of the step before it are read, so that the device never waits for the host.
/// </summary>
/// <remarks>
/// Steps go from the caller's states to a second set of them and back, so the states before the newest step are always there: whoever stops
/// finds them behind exactly the tokens given (<see cref="Finish"/>), though the device has gone on. Serves one thread at a time, as the
/// model does; other passes of the model may come in between.
/// </remarks>
public sealed class DecodeLoop : IDisposable
{
    private readonly MambaModel _model;
    private readonly Backend _backend;
    private readonly Sampler[] _samplers;
    private readonly SequenceLayout _sequences;
    private readonly MambaState _state;
    private readonly MambaState _otherState;
    private readonly OwnedParts _parts = new();
    private readonly DecodeMemory _memory;
    private readonly HostCopy[] _copies;
    private readonly CapturedOperations?[] _captured = new CapturedOperations?[2];

    // From the caller's states and back, where the backend has a step of its own.
    private readonly PreparedDecodeStep?[] _prepared = new PreparedDecodeStep?[2];
    private readonly SampledToken[] _tokens;
    private readonly int[] _pending;
    private bool _started, _finished, _disposed;

    // Steps of the model put in; tokens chosen, on the device, for all rows; and those given to the caller. Before the first token as many
    // steps are run as _stepsBefore says: none where it is chosen from the caller's logits.
    private long _steps, _chosen, _given;
    private int _stepsBefore;

    /// <summary>Prepares a loop over all slots of a state.</summary>
    /// <param name="state">The states to go on from, one slot a sequence; until <see cref="Finish"/> they are the loop's.</param>
    /// <param name="samplers">How tokens are chosen, one a slot; they are kept up to date with what the device draws for them.</param>
    /// <exception cref="ArgumentException">There are not as many samplers as slots.</exception>
    /// <exception cref="InsufficientMemoryException">There is no room for the second set of states.</exception>
    public DecodeLoop(MambaState state, IReadOnlyList<Sampler> samplers)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(samplers);
        if (samplers.Count != state.SlotCount)
        {
            throw new ArgumentException($"{samplers.Count} samplers were given for {state.SlotCount} slots.", nameof(samplers));
        }

        _model = state.Model;
        _backend = _model.Backend;
        _state = state;
        _samplers = [.. samplers];
        _sequences = SequenceLayout.Uniform(samplers.Count, 1);
        _tokens = new SampledToken[samplers.Count];
        _pending = new int[samplers.Count];
        _model.Reserve(samplers.Count);
        try
        {
            _otherState = _parts.Add(_model.CreateState(samplers.Count));
            _memory = _parts.Add(new DecodeMemory(
                _backend, samplers.Count, _model.Config.VocabularySize, samplers.Any(sampler => sampler.HasPenalties)));
            int bytes = _memory.Results.Columns;
            _copies = [_parts.Add(_backend.CreateHostCopy(bytes)), _parts.Add(_backend.CreateHostCopy(bytes))];
            _memory.Upload(_samplers, _model.Config.VocabularySize);
        }
        catch
        {
            _parts.Dispose();
            throw;
        }
    }

    /// <summary>How many sequences there are.</summary>
    public int Rows => _samplers.Length;

    /// <summary>Whether a step is put in before the tokens of the one before are read.</summary>
    public bool RunsAhead => _backend.CanCapture;

    /// <summary>Begins with the choice from logits: those behind the tokens that the states have run.</summary>
    /// <param name="logits">(rows, vocabulary).</param>
    public void Start(ReadOnlySpan<float> logits)
    {
        BeginOnce();
        _backend.Upload(logits, _memory.Logits[0]);
        Choose();
        PrepareSteps();
    }

    /// <summary>Begins with tokens that are still to be run: those pending, for instance.</summary>
    /// <param name="tokenIds">One a row.</param>
    /// <exception cref="ArgumentException">There is not one a row, or one is not in the vocabulary.</exception>
    public void Start(ReadOnlySpan<int> tokenIds)
    {
        if (tokenIds.Length != Rows)
        {
            throw new ArgumentException($"{tokenIds.Length} tokens were given for {Rows} rows.", nameof(tokenIds));
        }

        PassInput.CheckTokens(tokenIds, _model.Config.VocabularySize, nameof(tokenIds));
        BeginOnce();
        _backend.Upload(tokenIds, _memory.TokenIds);
        tokenIds.CopyTo(_pending);
        _stepsBefore = 1;
        PrepareSteps();
    }

    /// <summary>The next tokens, one a row; they stay until the next call.</summary>
    /// <param name="goOn">Whether it is likely that more will be asked for: the next step is put in then, before these are read.</param>
    /// <exception cref="ArithmeticException">A logit is NaN or infinite: the model's weights or a state are damaged.</exception>
    public ReadOnlySpan<SampledToken> Next(bool goOn = true)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!_started || _finished)
        {
            throw new InvalidOperationException(_finished ? "The loop was finished." : "The loop was not started.");
        }

        while (_chosen == _given || (goOn && RunsAhead && _chosen == _given + 1))
        {
            Step();
        }

        ReadOnlySpan<byte> results = _copies[_given & 1].Wait();
        for (int row = 0; row < _tokens.Length; row++)
        {
            _tokens[row] = _memory.Token(results, row);
            _pending[row] = _tokens[row].Id;
            _samplers[row].Follow(_tokens[row].Id, DecodeMemory.RandomState(results, row));
        }

        _given++;
        return _tokens;
    }

    /// <summary>The logits that the token of a row, given last, was chosen from.</summary>
    public void CopyLogits(int row, Span<float> logits)
    {
        if (_given == 0)
        {
            throw new InvalidOperationException("No token was given yet.");
        }

        _backend.Download(_memory.Logits[(int)((_given - 1) & 1)].RowRange(row, 1), logits);
    }

    /// <summary>
    /// Copies the sequence of a row as it stands: all tokens given are in the state, but the last, which is pending there.
    /// </summary>
    public void CopyRow(int row, MambaState destination, int slot)
    {
        ArgumentNullException.ThrowIfNull(destination);
        long counted = _state.TokenCount(row);
        (StepsGiven % 2 == 0 ? _state : _otherState).CopySlot(row, destination, slot);
        destination.SetTokenCount(counted + StepsGiven, slot);
        destination.SetPendingTokens(_pending.AsSpan(row, 1), slot);
    }

    /// <summary>
    /// Leaves the caller's states behind all tokens given but the last of each row, which is pending there. The loop is of no more use then.
    /// </summary>
    public void Finish()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_finished || !_started)
        {
            return;
        }

        _finished = true;
        if (StepsGiven % 2 != 0)
        {
            _state.CopyLayers(_otherState);
        }

        for (int row = 0; row < Rows; row++)
        {
            _state.SetTokenCount(_state.TokenCount(row) + StepsGiven, row);
            _state.SetPendingTokens(_given > 0 || _stepsBefore > 0 ? _pending.AsSpan(row, 1) : [], row);
        }
    }

    /// <summary>Finishes, and gives back what is the loop's.</summary>
    public void Dispose()
    {
        if (!_disposed)
        {
            Finish();
            _disposed = true;
            Array.ForEach(_captured, captured => captured?.Dispose());
            _parts.Dispose();
        }
    }

    /// <summary>The steps that were run for the tokens given: not for the last, which is pending.</summary>
    private long StepsGiven => Math.Max(0, _given - 1 + _stepsBefore);

    private void BeginOnce()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_started)
        {
            throw new InvalidOperationException("The loop was started before.");
        }

        _started = true;
    }

    /// <summary>Runs the tokens at hand, and chooses the next.</summary>
    private void Step()
    {
        ref CapturedOperations? captured = ref _captured[_steps & 1];
        if (_steps == 0 || !_backend.CanCapture)
        {
            // The first compiles kernels and allocates what operations need.
            _model.Reserve(Rows);
            Operations();
        }
        else
        {
            if (captured is not { IsCurrent: true })
            {
                captured?.Dispose();
                captured = null;
                _model.Reserve(Rows);
                captured = _backend.Capture(Operations);
            }

            captured.Run();
        }

        _steps++;
        BeginCopy();
    }

    private void Operations()
    {
        MatrixView logits = _memory.Logits[(int)(_chosen & 1)];
        if (_prepared[_steps & 1] is { } prepared)
        {
            prepared.Run();
        }
        else
        {
            (MambaState before, MambaState after) = StatesOf(_steps);
            _model.Step(_memory.TokenIds, _sequences, before, after, logits);
        }

        Sample(logits);
    }

    /// <summary>Before the first step, since it allocates.</summary>
    private void PrepareSteps()
    {
        for (int i = 0; i < _prepared.Length; i++)
        {
            (MambaState before, MambaState after) = StatesOf(i);
            MatrixView logits = _memory.Logits[(int)((_chosen + i) & 1)];
            if (_model.PrepareStep(_memory.TokenIds, _sequences, before, after, logits) is { } step)
            {
                _prepared[i] = _parts.Add(step);
            }
        }
    }

    private (MambaState Before, MambaState After) StatesOf(long step) => (step & 1) == 0 ? (_state, _otherState) : (_otherState, _state);

    private void Choose()
    {
        Sample(_memory.Logits[(int)(_chosen & 1)]);
        BeginCopy();
    }

    private void Sample(MatrixView logits) => _backend.SampleTokens(_memory.Sampling(logits, Rows));

    private void BeginCopy()
    {
        _copies[_chosen & 1].Begin(_memory.Results);
        _chosen++;
    }
}
