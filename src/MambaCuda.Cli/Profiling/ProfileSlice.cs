using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>What a slice of a profile is.</summary>
internal enum SliceKind
{
    Step,
    Part,
    Operation,
    Kernel,
}

/// <summary>
/// A stretch of device time: a step, in it parts and layers, in them operations, in them kernels. Times are milliseconds of work, one thing
/// behind the other: what passes between two operations, as while the device waits for the host, is not in it.
/// </summary>
internal sealed class ProfileSlice(SliceKind kind, string name)
{
    public SliceKind Kind { get; } = kind;

    /// <summary>As in "layer 3", "LinearForward", "mma 64x64 aligned".</summary>
    public string Name { get; } = name;

    /// <summary>What an operation has to do; a kernel has it too where it is the only one of its operation.</summary>
    public OperationWork Work { get; set; }

    /// <summary>How a kernel was launched.</summary>
    public KernelLaunch? Launch { get; init; }

    /// <summary>Where it begins after its parent's begin.</summary>
    public double Offset { get; set; }

    public double Milliseconds { get; set; }

    public List<ProfileSlice> Children { get; } = [];

    /// <summary>This slice and all in it, each before what is in it, with the slices around it, outermost first.</summary>
    public IEnumerable<(ProfileSlice Slice, IReadOnlyList<ProfileSlice> Around)> All(IReadOnlyList<ProfileSlice>? around = null)
    {
        IReadOnlyList<ProfileSlice> outer = around ?? [];
        yield return (this, outer);
        IReadOnlyList<ProfileSlice> inner = [.. outer, this];
        foreach ((ProfileSlice Slice, IReadOnlyList<ProfileSlice> Around) below in Children.SelectMany(child => child.All(inner)))
        {
            yield return below;
        }
    }

    /// <summary>Several measurements of one step as one: each time is the median of its times, and every slice holds its children.</summary>
    /// <exception cref="InvalidOperationException">They are not of one step: operations differ.</exception>
    public static ProfileSlice Median(IReadOnlyList<ProfileSlice> measured)
    {
        ProfileSlice first = measured[0], merged = new(first.Kind, first.Name) { Work = first.Work, Launch = first.Launch };
        if (measured.Any(other => other.Name != first.Name || other.Children.Count != first.Children.Count))
        {
            throw new InvalidOperationException($"{first.Name} did not run the same operations each time; profile a step that repeats.");
        }

        bool isOneBehindTheOther = first.Kind is SliceKind.Step or SliceKind.Part;
        double end = 0;
        for (int i = 0; i < first.Children.Count; i++)
        {
            ProfileSlice child = Median([.. measured.Select(slice => slice.Children[i])]);

            // Medians are taken one by one, so the places are made to fit again: behind the child before, and inside.
            child.Offset = isOneBehindTheOther ? end : Math.Max(end, MedianOf(measured.Select(slice => slice.Children[i].Offset)));
            end = child.Offset + child.Milliseconds;
            merged.Children.Add(child);
        }

        merged.Milliseconds = isOneBehindTheOther ? end : Math.Max(end, MedianOf(measured.Select(slice => slice.Milliseconds)));
        return merged;
    }

    /// <summary>The middle of some numbers, or the mean of the two in the middle.</summary>
    public static double MedianOf(IEnumerable<double> numbers)
    {
        double[] sorted = [.. numbers.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
