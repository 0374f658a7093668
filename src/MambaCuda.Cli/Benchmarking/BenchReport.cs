using System.Text.Json;
using System.Text.Json.Serialization;

namespace MambaCuda.Cli;

/// <summary>One invocation of mamba-cuda bench, as its JSON file says it.</summary>
internal sealed record BenchReport
{
    public required string Command { get; init; }

    public required string Commit { get; init; }

    public required DateTime Date { get; init; }

    public required BenchMachine Machine { get; init; }

    /// <summary>Measured in the same invocation; null where the device has no such figure.</summary>
    public double? CopyGigabytesPerSecond { get; init; }

    /// <summary>Measured in the same invocation; null where the device has no such figure.</summary>
    public double? ReadGigabytesPerSecond { get; init; }

    /// <summary>Products of 16-bit matrices by tensor cores, measured in the same invocation; null where the device has none.</summary>
    public double? MatrixTeraflopPerSecond { get; init; }

    /// <summary>Multiply-adds in float32, two operations each, measured in the same invocation; null on the CPU.</summary>
    public double? MultiplyAddTeraflopPerSecond { get; init; }

    /// <summary>Exponentials by the special-function units, measured in the same invocation; null on the CPU.</summary>
    public double? SpecialGigaoperationsPerSecond { get; init; }

    public required IReadOnlyList<BenchResult> Rows { get; init; }

    /// <summary>What arithmetic reached, from the ceilings that were measured.</summary>
    [JsonIgnore]
    public IEnumerable<(string Name, double TeraflopPerSecond)> Levels => new[]
    {
        ("tensor cores", MatrixTeraflopPerSecond ?? 0), ("multiply-add", MultiplyAddTeraflopPerSecond ?? 0),
        ("special functions", (SpecialGigaoperationsPerSecond ?? 0) / 1e3),
    }.Where(level => level.Item2 > 0);

    public string ToJson() => JsonSerializer.Serialize(this, BenchJson.Default.BenchReport);

    /// <summary>Reads a file that an invocation wrote.</summary>
    /// <exception cref="IOException">It is none.</exception>
    public static BenchReport Read(string path)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), BenchJson.Default.BenchReport)
                ?? throw new IOException($"{path} is empty.");
        }
        catch (JsonException exception)
        {
            throw new IOException($"{path} is no result of mamba-cuda bench: {exception.Message}", exception);
        }
    }
}

/// <summary>Where it was measured.</summary>
internal sealed record BenchMachine
{
    public required string Device { get; init; }

    public string? Driver { get; init; }

    public string? Cuda { get; init; }

    public string? Nvrtc { get; init; }

    public required string Host { get; init; }

    public required string Runtime { get; init; }
}

/// <summary>One row as measured. Times are milliseconds.</summary>
internal sealed record BenchResult
{
    public required string Operation { get; init; }

    public required string Shape { get; init; }

    public string? Model { get; init; }

    public required string Type { get; init; }

    public string? Variant { get; init; }

    /// <summary>Launches that a run was the share of one of.</summary>
    public int Launches { get; init; } = 1;

    /// <summary>What measures this row alone.</summary>
    public required string Command { get; init; }

    /// <summary>Why it could not be measured; null where it was.</summary>
    public string? Problem { get; init; }

    /// <summary>events or host: whose clock.</summary>
    public string? Clock { get; init; }

    public double MedianMs { get; init; }

    public double MinMs { get; init; }

    public double MaxMs { get; init; }

    public int Runs { get; init; }

    public long Bytes { get; init; }

    public double Operations { get; init; }

    public long Elements { get; init; }

    public double GigabytesPerSecond { get; init; }

    public double GigaelementsPerSecond { get; init; }

    public double TeraflopPerSecond { get; init; }

    /// <summary>copy, read, tensor or special: the ceiling that the percentage is of; null where none is known to be the limit.</summary>
    public string? Ceiling { get; init; }

    public double? PercentOfCeiling { get; init; }

    /// <summary>
    /// Of a whole model on CUDA: the most device memory that was allocated while it ran, weights included; what the driver takes for itself
    /// and for kernels is not in it.
    /// </summary>
    public long? PeakMemoryBytes { get; init; }
}

[JsonSourceGenerationOptions(
    WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(BenchReport))]
internal sealed partial class BenchJson : JsonSerializerContext;
