using System.Text.Json;

namespace MambaCuda.Cli;

/// <summary>
/// A profile in the trace event format of Chrome, which ui.perfetto.dev and chrome://tracing open: one track, the step over its parts over
/// operations over kernels.
/// </summary>
internal static class TraceFile
{
    private const int Process = 1;
    private const int Track = 1;

    public static void Write(string path, StepProfile profile)
    {
        using FileStream file = File.Create(path);
        using Utf8JsonWriter writer = new(file);
        writer.WriteStartObject();
        writer.WriteString("displayTimeUnit", "ns");
        writer.WriteStartArray("traceEvents");
        Name(writer, "process_name", profile.Device);
        Name(writer, "thread_name", "device");
        Slice(writer, profile.Step, begin: 0, end: Nanoseconds(profile.Step.Milliseconds));
        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    private static void Name(Utf8JsonWriter writer, string what, string name)
    {
        writer.WriteStartObject();
        writer.WriteString("name", what);
        writer.WriteString("ph", "M");
        writer.WriteNumber("pid", Process);
        writer.WriteNumber("tid", Track);
        writer.WriteStartObject("args");
        writer.WriteString("name", name);
        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    /// <summary>A slice in whole nanoseconds, so that what lies in another does so after rounding too.</summary>
    private static void Slice(Utf8JsonWriter writer, ProfileSlice slice, long begin, long end)
    {
        writer.WriteStartObject();
        writer.WriteString("name", slice.Name);
        writer.WriteString("cat", slice.Kind.ToString().ToLowerInvariant());
        writer.WriteString("ph", "X");
        writer.WriteNumber("pid", Process);
        writer.WriteNumber("tid", Track);
        writer.WriteNumber("ts", begin / 1000m);
        writer.WriteNumber("dur", (end - begin) / 1000m);
        writer.WriteStartObject("args");
        Arguments(writer, slice);
        writer.WriteEndObject();
        writer.WriteEndObject();
        long place = begin;
        foreach (ProfileSlice child in slice.Children)
        {
            long first = Math.Clamp(begin + Nanoseconds(child.Offset), place, end);
            place = Math.Clamp(begin + Nanoseconds(child.Offset + child.Milliseconds), first, end);
            Slice(writer, child, first, place);
        }
    }

    private static void Arguments(Utf8JsonWriter writer, ProfileSlice slice)
    {
        if (slice.Work != default)
        {
            writer.WriteNumber("bytes", slice.Work.Bytes);
            writer.WriteNumber("operations", slice.Work.Operations);
        }

        if (slice.Launch is { } launch)
        {
            writer.WriteString("kernel", launch.Kernel);
            writer.WriteString("grid", $"{launch.Grid}");
            writer.WriteString("block", $"{launch.Block}");
        }
    }

    private static long Nanoseconds(double milliseconds) => (long)Math.Round(milliseconds * 1e6);
}
