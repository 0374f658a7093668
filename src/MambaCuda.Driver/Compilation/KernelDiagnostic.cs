using System.Globalization;
using System.Text.RegularExpressions;

namespace MambaCuda.Driver;

/// <summary>How bad a <see cref="KernelDiagnostic"/> is.</summary>
public enum DiagnosticSeverity
{
    /// <summary>It compiles, but may not be meant.</summary>
    Warning,

    /// <summary>It does not compile.</summary>
    Error,
}

/// <summary>One message of the compiler.</summary>
/// <param name="File">The source or header; null where the message is about none (options, assembling).</param>
/// <param name="Line">The line in it, from 1; null where the message is about none.</param>
/// <param name="Severity">How bad it is.</param>
/// <param name="Message">The message.</param>
/// <param name="Details">The lines that follow it: the source with a mark under the place, the templates that led there.</param>
public sealed partial record KernelDiagnostic(string? File, int? Line, DiagnosticSeverity Severity, string Message, string Details)
{
    /// <summary>As in "scan.cu(12): error: identifier "x" is undefined".</summary>
    public override string ToString() =>
        $"{(File is null ? "" : $"{File}({Line}): ")}{(Severity == DiagnosticSeverity.Error ? "error" : "warning")}: {Message}";

    /// <summary>Finds the messages in a log of NVRTC.</summary>
    internal static IReadOnlyList<KernelDiagnostic> Parse(string log)
    {
        List<KernelDiagnostic> found = [];
        bool following = false;
        foreach (string line in log.Split('\n').Select(line => line.TrimEnd('\r')))
        {
            if (ReadLine(line) is { } diagnostic)
            {
                found.Add(diagnostic);
                following = true;
            }
            else if (string.IsNullOrWhiteSpace(line))
            {
                following = false;
            }
            else if (following)
            {
                found[^1] = found[^1] with { Details = found[^1].Details.Length == 0 ? line : $"{found[^1].Details}\n{line}" };
            }
        }

        return found;
    }

    private static KernelDiagnostic? ReadLine(string line)
    {
        Match match = InSource().Match(line);
        if (match.Success && int.TryParse(match.Groups["line"].ValueSpan, CultureInfo.InvariantCulture, out int number))
        {
            return new KernelDiagnostic(match.Groups["file"].Value, number, SeverityOf(match), match.Groups["message"].Value, "");
        }

        match = OfTool().Match(line);
        return match.Success ? new KernelDiagnostic(null, null, SeverityOf(match), match.Groups["message"].Value, "") : null;
    }

    private static DiagnosticSeverity SeverityOf(Match match) =>
        match.Groups["severity"].ValueSpan is "warning" or "remark" ? DiagnosticSeverity.Warning : DiagnosticSeverity.Error;

    // scan.cu(12): error: ...   types.cuh(3): warning #177-D: ...   scan.cu(1): catastrophic error: ...
    [GeneratedRegex(
        @"^(?<file>\S.*?)\((?<line>\d+)\): (?:catastrophic |internal )?(?<severity>error|warning|remark)(?: #\S+)?: (?<message>.*)$",
        RegexOptions.CultureInvariant)]
    private static partial Regex InSource();

    // At end of source: error: ...   nvrtc: error: ...   ptxas application ptx input, line 23; error   : ...   ptxas fatal   : ...
    [GeneratedRegex(
        @"^(?:At end of source|nvrtc|ptxas|nvvm|libnvvm)\b.*?\b(?<severity>error|fatal|warning)\s*:\s*(?<message>.*)$",
        RegexOptions.CultureInvariant)]
    private static partial Regex OfTool();
}
