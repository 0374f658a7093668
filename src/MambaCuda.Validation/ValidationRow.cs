using System.Diagnostics;
using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of <see cref="ValidationTable"/>: an operation over one case, its result held against float64.</summary>
/// <param name="Operation">The method of <see cref="Backend"/>, as in "LinearForward".</param>
/// <param name="Case">Shape, options and placement, as in "r300 o130 i770 fp16 bias aligned".</param>
/// <param name="Measure">Runs it, guard words around what it writes, and gives the error of each output; throws where it cannot.</param>
public sealed record ValidationRow(string Operation, string Case, Func<Backend, IReadOnlyList<OutputError>> Measure)
{
    /// <summary>The most <see cref="Work"/> of a small row.</summary>
    public const long SmallWork = 20_000;

    /// <summary>The variant that it runs, where a backend can be asked for one; null where the backend chooses.</summary>
    public string? Variant { get; init; }

    /// <summary>How much there is to compute: elements, times the terms of each one's sum.</summary>
    public required long Work { get; init; }

    /// <summary>Whether it is for tools under which everything is slow, as compute-sanitizer.</summary>
    public bool IsSmall => Work <= SmallWork;

    /// <summary>Runs it. What goes wrong is told in the result.</summary>
    public ValidationResult Run(Backend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        List<KernelLaunch> launches = [];
        CudaBackend? cuda = backend as CudaBackend;
        ValidationResult result = new() { Row = this, Backend = backend.Name, Type = backend.ActivationType, Launches = launches };
        long start = Stopwatch.GetTimestamp();
        try
        {
            cuda?.OnLaunch = launches.Add;
            result = result with { Outputs = Measure(backend) };
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            result = result with { Problem = $"{exception.GetType().Name}: {exception.Message}" };
        }
        finally
        {
            cuda?.OnLaunch = null;
        }

        return result with { Elapsed = Stopwatch.GetElapsedTime(start) };
    }
}

/// <summary>What came of a row.</summary>
public sealed record ValidationResult
{
    /// <summary>The row.</summary>
    public required ValidationRow Row { get; init; }

    /// <summary>The name of the backend that it ran on.</summary>
    public required string Backend { get; init; }

    /// <summary>The type of activations that it ran with.</summary>
    public required DataType Type { get; init; }

    /// <summary>The kernels that were launched, in their order; none on the CPU.</summary>
    public required IReadOnlyList<KernelLaunch> Launches { get; init; }

    /// <summary>How far each output is from float64.</summary>
    public IReadOnlyList<OutputError> Outputs { get; init; } = [];

    /// <summary>What was thrown: the operation failed, or wrote where it must not; null where nothing was.</summary>
    public string? Problem { get; init; }

    /// <summary>How long it took, most of it for the reference.</summary>
    public TimeSpan Elapsed { get; init; }

    /// <summary>The output that is worst beside its bound; null where none came.</summary>
    public OutputError? Worst => Outputs.Count == 0 ? null : Outputs.Aggregate(OutputError.Worse);

    /// <summary>Whether every output is right, and nothing was thrown.</summary>
    public bool Passed => Problem is null && Worst is { IsWithin: true };

    /// <summary>What ran: the kernels launched, or the CPU's code; where it did not come to that, what was asked for.</summary>
    public string Variant => Launches.Count > 0
        ? string.Join(" + ", Launches.Select(launch => launch.ToString()).Distinct())
        : Row.Variant ?? (Backend == "cpu" ? Backend : "none");
}
