using MambaCuda.Kernels;
using MambaCuda.Validation;

namespace MambaCuda.Cli;

/// <summary>
/// Which rows are wanted: those that have every word of a text in their operation, type, shape or variant. Which variant the backend chooses
/// for a row is known only when it has run, so a word that no row has before must be of a variant.
/// </summary>
internal sealed class ValidationFilter
{
    private readonly string[] _known;

    /// <summary>Reads a text.</summary>
    /// <param name="text">Words with spaces between; null for all rows.</param>
    /// <param name="rows">What each row is known to have.</param>
    public ValidationFilter(string? text, IReadOnlyList<string> rows)
    {
        string[] words = text?.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) ?? [];
        ILookup<bool, string> isKnown = words.ToLookup(word => rows.Any(row => Has(row, word)));
        _known = [.. isKnown[true]];
        OfVariants = [.. isKnown[false]];
    }

    /// <summary>The words that must be of a variant.</summary>
    public IReadOnlyList<string> OfVariants { get; }

    /// <summary>What a row is known to have before it runs.</summary>
    public static string TextOf(ValidationRow row, Backend backend)
    {
        string? variant = row.Variant ?? (backend is CpuBackend ? backend.Name : null);
        return $"{row.Operation} {StoredValues.ShortName(backend.ActivationType)} {row.Case} {variant}";
    }

    /// <summary>Whether a row must run.</summary>
    public bool Wants(string text) => _known.All(word => Has(text, word));

    /// <summary>Whether a row that ran is to be shown.</summary>
    public bool Shows(ValidationResult result) => OfVariants.All(word => Has(result.Variant, word));

    private static bool Has(string text, string word) => text.Contains(word, StringComparison.OrdinalIgnoreCase);
}
