using System.Globalization;

namespace MambaCuda.Cli;

/// <summary>What is measured: one operation on one shape. <see cref="Arguments"/> repeats it.</summary>
/// <param name="Operation">The operation, as in "scan".</param>
/// <param name="Shape">Its sizes, in the operation's order; empty for an operation of a whole model that needs none.</param>
internal sealed record BenchRow(string Operation, IReadOnlyList<long> Shape)
{
    /// <summary>The activation type, as --dtype names it; null for the device's own.</summary>
    public string? Type { get; init; }

    /// <summary>The model, for operations of a whole model.</summary>
    public string? Model { get; init; }

    /// <summary>Which way of computing, where an operation has several.</summary>
    public string? Variant { get; init; }

    /// <summary>The state size of scans.</summary>
    public int StateSize { get; init; } = 16;

    /// <summary>
    /// Launches between two events, each on operands of its own; the time is that of one. More than one for operations of few microseconds,
    /// of which a launch and its events would else be a good part, as they are not where a model runs one operation after the other.
    /// </summary>
    public int Launches { get; init; } = 1;

    /// <summary>The shape as in "8x2048x2048".</summary>
    public string ShapeText => string.Join('x', Shape.Select(size => size.ToString(CultureInfo.InvariantCulture)));

    /// <summary>The words after "mamba-cuda bench" that measure this row alone.</summary>
    public string Arguments => string.Join(' ', new[]
    {
        Operation,
        Model is null ? "" : $"--model {Model}",
        Shape.Count == 0 ? "" : $"--shape {ShapeText}",
        Type is null ? "" : $"--dtype {Type}",
        Variant is null ? "" : $"--variant {Variant}",
        StateSize == 16 ? "" : string.Create(CultureInfo.InvariantCulture, $"--state-size {StateSize}"),
        Launches == 1 ? "" : string.Create(CultureInfo.InvariantCulture, $"--launches {Launches}"),
    }.Where(word => word.Length > 0));

    /// <summary>Reads "8x2048x2048".</summary>
    /// <exception cref="UsageException">It is no list of positive numbers, or has not the right number of them.</exception>
    public static long[] ParseShape(string text, BenchOperation operation)
    {
        string[] words = text.Split('x');
        long[] shape = new long[words.Length];
        for (int i = 0; i < words.Length; i++)
        {
            if (!long.TryParse(words[i], NumberStyles.None, CultureInfo.InvariantCulture, out shape[i]) || shape[i] <= 0)
            {
                throw new UsageException($"--shape {text}: '{words[i]}' is not a positive number; write {operation.ShapeHelp}, as in {operation.DefaultShape}.");
            }
        }

        return shape.Length == operation.DefaultShape.Split('x', StringSplitOptions.RemoveEmptyEntries).Length
            ? shape
            : throw new UsageException($"--shape {text}: {operation.Name} takes {operation.ShapeHelp}, as in {operation.DefaultShape}.");
    }
}
