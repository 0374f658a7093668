using System.Text.Json;
using System.Text.Json.Serialization;
using MambaCuda.Kernels;
using MambaCuda.Validation;

namespace MambaCuda.Cli;

/// <summary>One invocation of mamba-cuda validate, as --json prints it.</summary>
internal sealed record ValidationReport
{
    public required string Device { get; init; }

    public required string Reason { get; init; }

    public required IReadOnlyList<ValidationReportRow> Rows { get; init; }

    public int Passed { get; init; }

    public int Failed { get; init; }

    public int NotRun { get; init; }

    /// <summary>Why rows were not run; null where all were.</summary>
    public string? Stopped { get; init; }

    public string ToJson() => JsonSerializer.Serialize(this, ValidationJson.Default.ValidationReport);
}

/// <summary>One row. Error and bound are those of the output that is worst beside its bound, and "NaN" where there is no number.</summary>
internal sealed record ValidationReportRow
{
    public required string Operation { get; init; }

    public string? Variant { get; init; }

    public required string Shape { get; init; }

    public required string Type { get; init; }

    public string? Output { get; init; }

    public double? Error { get; init; }

    public double? Bound { get; init; }

    /// <summary>pass or FAIL; null where it was only listed.</summary>
    public string? Verdict { get; init; }

    /// <summary>What was thrown; null where nothing was.</summary>
    public string? Problem { get; init; }

    public IReadOnlyList<ValidationReportKernel>? Kernels { get; init; }

    public double? Milliseconds { get; init; }

    /// <summary>A row that ran.</summary>
    public static ValidationReportRow Of(ValidationResult result) => new()
    {
        Operation = result.Row.Operation,
        Variant = result.Variant,
        Shape = result.Row.Case,
        Type = StoredValues.ShortName(result.Type),
        Output = result.Worst?.Output,
        Error = result.Worst?.Error,
        Bound = result.Worst?.Bound,
        Verdict = ValidationLines.Verdict(result),
        Problem = result.Problem,
        Kernels = result.Launches.Count == 0 ? null : [.. result.Launches.Select(ValidationReportKernel.Of)],
        Milliseconds = Math.Round(result.Elapsed.TotalMilliseconds, 3),
    };

    /// <summary>A row that is only listed.</summary>
    public static ValidationReportRow Of(ValidationRow row, DataType type) =>
        new() { Operation = row.Operation, Variant = row.Variant, Shape = row.Case, Type = StoredValues.ShortName(type) };
}

/// <summary>A kernel that was launched.</summary>
internal sealed record ValidationReportKernel(string Name, IReadOnlyList<int> Grid, IReadOnlyList<int> Block)
{
    public static ValidationReportKernel Of(KernelLaunch launch) =>
        new(launch.Kernel, [launch.Grid.X, launch.Grid.Y, launch.Grid.Z], [launch.Block.X, launch.Block.Y, launch.Block.Z]);
}

[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(ValidationReport))]
internal sealed partial class ValidationJson : JsonSerializerContext;
