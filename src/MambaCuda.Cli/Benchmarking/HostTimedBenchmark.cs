namespace MambaCuda.Cli;

/// <summary>What its user waits for, and times itself by the host's clock: there is no ceiling that it could be held against.</summary>
internal abstract class HostTimedBenchmark : Benchmark
{
    public override long Bytes => 0;

    public override double Operations => 0;

    public override long Elements => 0;

    public override BenchCeiling Ceiling => BenchCeiling.None;

    public override bool TimedByHost => true;

    public override double? OwnMilliseconds => Milliseconds;

    /// <summary>What the last run took, or what one of its parts did.</summary>
    protected double Milliseconds { get; set; }
}
