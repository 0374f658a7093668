using System.Globalization;
using System.Text;
using MambaCuda.Kernels;
using MambaCuda.Validation;

namespace MambaCuda.Cli;

/// <summary>Rows as lines of text; what has no fixed width comes last, so that columns stay in place.</summary>
internal static class ValidationLines
{
    private const int Width = 140;
    private const int VariantWidth = 28;
    private const string Indent = "     ";

    /// <summary>The names of the columns.</summary>
    public static string Header { get; } = Line("", "operation", "type", "error", "bound", "variant", "shape");

    /// <summary>pass or FAIL.</summary>
    public static string Verdict(ValidationResult result) => result.Passed ? "pass" : "FAIL";

    /// <summary>A row that ran; where it failed, with more lines that say how.</summary>
    public static string Of(ValidationResult result)
    {
        OutputError? worst = result.Worst;
        StringBuilder text = new(Line(
            Verdict(result),
            result.Row.Operation,
            StoredValues.ShortName(result.Type),
            Number(worst?.Error),
            Number(worst?.Bound),
            result.Variant,
            result.Row.Case));
        IEnumerable<string> reasons = result.Outputs.Where(output => !output.IsWithin).Select(output => output.ToString());
        foreach (string reason in result.Problem is { } problem ? reasons.Append(problem) : reasons)
        {
            AppendWrapped(text, reason);
        }

        return text.ToString();
    }

    /// <summary>A row that is only listed.</summary>
    public static string Of(ValidationRow row, DataType type) =>
        Line("", row.Operation, StoredValues.ShortName(type), "", "", row.Variant ?? "", row.Case);

    private static string Line(string verdict, string operation, string type, string error, string bound, string variant, string shape)
    {
        string start = $"{verdict,-4} {operation,-20}  {type,-4} {error,7} {bound,7}  ";
        string line = $"{start}{variant,-VariantWidth}  {shape}".TrimEnd();
        return line.Length <= Width ? line : $"{start}{variant}\n{new string(' ', start.Length + VariantWidth)}  {shape}";
    }

    private static string Number(double? value) => value switch
    {
        null => "-",
        0 => "0",
        { } number when double.IsFinite(number) => number.ToString("0.0e+00", CultureInfo.InvariantCulture),
        { } other => other.ToString(CultureInfo.InvariantCulture),
    };

    private static void AppendWrapped(StringBuilder text, string reason)
    {
        foreach (string line in reason.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            for (ReadOnlySpan<char> rest = line; rest.Length > 0;)
            {
                int length = Math.Min(rest.Length, Width - Indent.Length);
                int space = length < rest.Length ? rest[..length].LastIndexOf(' ') : -1;
                length = space > 0 ? space : length;
                text.Append('\n').Append(Indent).Append(rest[..length]);
                rest = rest[length..].TrimStart();
            }
        }
    }
}
