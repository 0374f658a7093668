using System.Globalization;
using System.Text;

namespace MambaCuda.Cli;

/// <summary>A profile as text: what the step took, then a line for each operation and beneath it its kernels, longest first; then the layers.</summary>
internal static class ProfileTable
{
    private static readonly string[] Columns = ["calls", "ms", "share", "MB", "GB/s", "TFLOP/s", "of ceiling"];
    private const int NameWidth = 56;
    private const int ColumnWidth = 12;
    private const int LastColumnWidth = 20;

    public static string Text(StepProfile profile, bool layers)
    {
        StringBuilder text = new();
        List<(ProfileSlice Slice, IReadOnlyList<ProfileSlice> Around)> all = [.. profile.Step.All()];
        int kernels = all.Count(entry => entry.Slice.Kind == SliceKind.Kernel);
        text.AppendLine(profile.Title);
        text.AppendLine(profile.Device);
        text.AppendLine(Line($"the step as it runs {profile.PlainMilliseconds:f3} ms, by the host's clock; with marks around everything {profile.MarkedMilliseconds:f3} ms; medians of {profile.Runs}"));
        text.AppendLine(Line($"in operations {profile.Step.Milliseconds:f3} ms{(kernels > 0 ? Line($", {kernels} kernels") : "")}; two marks with nothing between measure {profile.MarkMilliseconds * 1e3:f2} us, which is in each time"));
        text.AppendLine(CeilingsOf(profile.Ceilings));
        text.AppendLine();
        text.AppendLine(Header(kernels > 0 ? "operation, kernel" : "operation"));
        double whole = profile.Step.Milliseconds;

        // Of operations in one another, the outer has the inner's time; so it is listed, and its kernels with it.
        var operations = all.Where(entry => IsOuterOperation(entry.Slice, entry.Around)).Select(entry => entry.Slice).ToList();
        foreach (IGrouping<string, ProfileSlice> group in operations.GroupBy(slice => slice.Name).OrderByDescending(Total))
        {
            text.AppendLine(OperationLine(group.Key, [.. group], profile, whole));
            foreach (IGrouping<string, ProfileSlice> kernel in group.SelectMany(slice => slice.All()).Select(entry => entry.Slice)
                .Where(slice => slice.Kind == SliceKind.Kernel).GroupBy(slice => slice.Name).OrderByDescending(Total))
            {
                // What one of several kernels of an operation moves and computes is not known.
                text.AppendLine(kernel.All(slice => slice.Work != default)
                    ? OperationLine($"  {kernel.Key}", [.. kernel], profile, whole)
                    : Row($"  {kernel.Key}", [Count(kernel.Count()), Milliseconds(Total(kernel)), Share(Total(kernel), whole)]));
            }
        }

        if (layers)
        {
            text.AppendLine();
            text.AppendLine(Header("part, layer"));
            Parts(text, profile.Step, "", profile, whole);
        }

        return text.ToString().TrimEnd();
    }

    /// <summary>A part, its operations that are in no smaller part, and then its parts.</summary>
    private static void Parts(StringBuilder text, ProfileSlice part, string indent, StepProfile profile, double whole)
    {
        List<ProfileSlice> operations =
            [.. part.All().Where(entry => IsOuterOperation(entry.Slice, entry.Around)).Select(entry => entry.Slice)];
        text.AppendLine(OperationLine($"{indent}{(part.Kind == SliceKind.Step ? "step" : part.Name)}", operations, profile, whole));
        foreach (ProfileSlice child in part.Children.Where(child => child.Kind == SliceKind.Part))
        {
            Parts(text, child, indent + "  ", profile, whole);
        }
    }

    private static bool IsOuterOperation(ProfileSlice slice, IReadOnlyList<ProfileSlice> around) =>
        slice.Kind == SliceKind.Operation && around.All(outer => outer.Kind != SliceKind.Operation);

    private static string OperationLine(string name, List<ProfileSlice> slices, StepProfile profile, double whole)
    {
        double milliseconds = Total(slices);
        long bytes = slices.Sum(slice => slice.Work.Bytes);
        double operations = slices.Sum(slice => slice.Work.Operations);
        return Row(name,
        [
            Count(slices.Count), Milliseconds(milliseconds), Share(milliseconds, whole),
            bytes == 0 ? "" : Number(bytes / 1e6),
            bytes == 0 ? "" : Number(bytes / milliseconds / 1e6),
            operations == 0 ? "" : Number(operations / milliseconds / 1e9),
            OfCeiling(slices, profile, milliseconds),
        ]);
    }

    /// <summary>The least time that the ceilings allow, as a share of the time; and which ceiling is most of it.</summary>
    private static string OfCeiling(List<ProfileSlice> slices, StepProfile profile, double milliseconds)
    {
        List<(double Milliseconds, string Ceiling)> least = [.. slices.Select(slice => profile.Ceilings.Least(slice.Work, profile.Activations)).OfType<(double, string)>()];
        if (least.Count == 0)
        {
            return "";
        }

        string most = least.GroupBy(one => one.Ceiling).MaxBy(group => group.Sum(one => one.Milliseconds))!.Key;
        return Line($"{100 * least.Sum(one => one.Milliseconds) / milliseconds:f0} % {most}");
    }

    private static string CeilingsOf(DeviceCeilings ceilings) => "ceilings, measured just before: " + string.Join(
        ", ", ceilings.Named.Select(ceiling => $"{ceiling.Name} {Number(ceiling.Value)} {ceiling.Unit}"));

    private static double Total(IEnumerable<ProfileSlice> slices) => slices.Sum(slice => slice.Milliseconds);

    /// <summary>As many digits as tell something.</summary>
    private static string Number(double value) => value switch
    {
        >= 100 => Line($"{value:n0}"),
        >= 10 => Line($"{value:f1}"),
        >= 0.01 => Line($"{value:f3}"),
        _ => Line($"{value:g2}"),
    };

    private static string Count(int count) => Line($"{count}");

    private static string Milliseconds(double milliseconds) => Line($"{milliseconds:f4}");

    private static string Share(double milliseconds, double whole) => Line($"{100 * milliseconds / whole:f1} %");

    private static string Header(string name) => Row(name, Columns);

    private static string Row(string name, IReadOnlyList<string> cells) =>
        (name.PadRight(NameWidth) + string.Concat(cells.Select((cell, i) => cell.PadLeft(i == Columns.Length - 1 ? LastColumnWidth : ColumnWidth)))).TrimEnd();

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
