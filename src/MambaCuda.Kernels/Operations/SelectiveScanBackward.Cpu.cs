namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void SelectiveScanBackwardCore(in SelectiveScanBackwardArgs args)
    {
        SelectiveScanForwardArgs forward = args.Forward;
        ScanBackwardParts parts = new(forward);
        ScanBackwardSums sums = new(args, parts);
        sums.Start = (float*)Scratch(sums.Floats * sizeof(float)).Pointer;
        ScanBackwardBody body = new(args, parts, sums);
        _pool.Run(ref body, parts.Count);
        AddPartials(sums.OfTokenB, forward.U.Rows, parts.Ranges, args.GradB, add: false);
        AddPartials(sums.OfTokenC, forward.U.Rows, parts.Ranges, args.GradC, add: false);
        AddPartials(sums.OfA, sums.ParameterRows, parts.Shards, args.GradA, add: true);
        AddPartials(sums.OfD, sums.ParameterRows, parts.Shards, args.GradD, add: true);
        AddPartials(sums.OfDeltaBias, sums.ParameterRows, parts.Shards, args.GradDeltaBias, add: true);
        AddPartials(sums.OfConstantB, sums.ParameterRows, parts.Shards, args.GradB, add: true);
        AddPartials(sums.OfConstantC, sums.ParameterRows, parts.Shards, args.GradC, add: true);
    }

    /// <summary>Sums what the parts of an operation left, unless there is none or nobody asks.</summary>
    private void AddPartials(FloatRows first, long stride, int count, in MatrixView destination, bool add)
    {
        if (!first.IsNone && !destination.IsNone)
        {
            PartialSums body = new(first, stride, count, Rows(destination), destination.Rows, destination.Columns, add);
            _pool.Run(ref body, body.Parts);
        }
    }

    /// <summary>
    /// How the work is cut, by shapes alone, so that no sum depends on the number of threads. A part is a range of the blocks of channels
    /// of one group, for a shard of the sequences. The bounds keep the sums that parts leave within the size of one activation or so.
    /// </summary>
    private readonly struct ScanBackwardParts
    {
        public const int BlockChannels = 64;
        private const int MostShards = 8;
        private const int MostRanges = 32;

        public ScanBackwardParts(in SelectiveScanForwardArgs forward)
        {
            Groups = forward.Groups;
            GroupChannels = forward.U.Columns / Groups;
            BlocksPerGroup = CpuBackend.Parts(GroupChannels, BlockChannels);
            Ranges = Math.Min(BlocksPerGroup, Math.Max(1, MostRanges / Groups));
            Sequences = forward.Sequences.Count;
            Shards = Math.Min(Sequences, MostShards);
        }

        public int Groups { get; }

        public int GroupChannels { get; }

        public int BlocksPerGroup { get; }

        /// <summary>Ranges of blocks in a group.</summary>
        public int Ranges { get; }

        public int Sequences { get; }

        public int Shards { get; }

        public int Count => checked(Shards * Groups * Ranges);

        public int FirstBlock(int range) => (int)((long)BlocksPerGroup * range / Ranges);

        public int FirstSequence(int shard) => (int)((long)Sequences * shard / Shards);
    }

    /// <summary>
    /// Where parts leave their shares of sums: those over channels a matrix (tokens, groups * state size) for each range of blocks, those
    /// over tokens a matrix (parameters, channels) for each shard. None where nobody asks for the sum.
    /// </summary>
    private struct ScanBackwardSums
    {
        private readonly long _tokens;
        private readonly int _tokenColumns;
        private readonly int _stateSize;
        private readonly int _channels;
        private readonly bool _hasTokenB;
        private readonly bool _hasTokenC;
        private readonly bool _hasConstantB;
        private readonly bool _hasConstantC;
        private readonly int _ranges;
        private readonly int _shards;

        public ScanBackwardSums(in SelectiveScanBackwardArgs args, in ScanBackwardParts parts)
        {
            _tokens = args.Forward.U.Rows;
            _stateSize = (int)args.Forward.A.Rows;
            _tokenColumns = parts.Groups * _stateSize;
            _channels = args.Forward.U.Columns;
            _hasTokenB = !args.Forward.ConstantB && !args.GradB.IsNone;
            _hasTokenC = !args.Forward.ConstantC && !args.GradC.IsNone;
            _hasConstantB = args.Forward.ConstantB;
            _hasConstantC = args.Forward.ConstantC;
            _ranges = parts.Ranges;
            _shards = parts.Shards;
        }

        public float* Start { get; set; }

        public readonly long Floats =>
            (TokenFloats * ((_hasTokenB ? 1 : 0) + (_hasTokenC ? 1 : 0))) + (ParameterRows * _channels * _shards);

        /// <summary>Rows of a shard: A, D, the bias of delta, and B and C where they are constant.</summary>
        public readonly long ParameterRows => (_stateSize * (1L + (_hasConstantB ? 1 : 0) + (_hasConstantC ? 1 : 0))) + 2;

        public readonly FloatRows OfTokenB => _hasTokenB ? new(Start, _tokenColumns) : default;

        public readonly FloatRows OfTokenC => _hasTokenC ? new(Start + (_hasTokenB ? TokenFloats : 0), _tokenColumns) : default;

        public readonly FloatRows OfA => Parameter(0);

        public readonly FloatRows OfD => Parameter(_stateSize);

        public readonly FloatRows OfDeltaBias => Parameter(_stateSize + 1);

        public readonly FloatRows OfConstantB => _hasConstantB ? Parameter(_stateSize + 2) : default;

        public readonly FloatRows OfConstantC => _hasConstantC ? Parameter((_hasConstantB ? 2 * _stateSize : _stateSize) + 2) : default;

        private readonly long TokenFloats => _tokens * _tokenColumns * _ranges;

        private readonly FloatRows Parameter(int row) =>
            new(Start + (TokenFloats * ((_hasTokenB ? 1 : 0) + (_hasTokenC ? 1 : 0))) + ((long)row * _channels), _channels);
    }
}
