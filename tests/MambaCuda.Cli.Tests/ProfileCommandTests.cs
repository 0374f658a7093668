using System.Text.Json;
using MambaCuda.Driver.Tests;
using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda profile: its table has every operation, its trace can be read and nests. How fast anything is, no test says.</summary>
public sealed class ProfileCommandTests : IDisposable
{
    private const string Tiny = "--size tiny --shape 2x5 --runs 2";

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, string[], string[]> Steps => new()
    {
        { $"{Tiny}", ["EmbeddingForward", "CausalConv1dForward", "SelectiveScanForward", "GatherRows"], ["layer 0", "layer 1"] },
        { $"{Tiny} --what decode", ["AddRmsNormLinear", "MixerStep", "LinearForward", "Download"], ["layer 0", "layer 1"] },
        {
            $"{Tiny} --what train --recompute block", ["CrossEntropy", "SelectiveScanBackward", "LinearBackward", "GradientNorm", "AdamW"],
            ["forward", "loss", "backward", "optimizer"]
        },
        { $"--what decode --shape 1x3 --runs 1 --model {ModelLoader.DefaultModel}", ["MixerStep"], ["layer 10"] },
    };

    public static TheoryData<string, string> Mistakes => new()
    {
        { "--what sing", "sing" },
        { "--shape 8", "as in 8x2048" },
        { "--shape 8x0", "as in 8x2048" },
        { "--shape 8x2x2", "as in 8x2048" },
        { "--runs 0", "1 or more" },
        { "--size 131m", "131m" },
        { "--size tiny --model x", "one of them" },
        { "--what decode --recompute scan", "decode has none" },
        { "--dtype bf16", "fp32" },
    };

    [Theory, MemberData(nameof(Steps))]
    public async Task A_step_is_a_table_and_a_trace_that_nests(string arguments, string[] operations, string[] parts)
    {
        string file = _folder.File("step.json");
        (int code, string output, string error) = await Run($"{arguments} --device cpu --layers --trace {file}");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        string[] lines = output.Split(Environment.NewLine);
        Assert.All([.. operations, .. parts], name => Assert.Contains(lines, line => line.TrimStart().StartsWith($"{name} ", StringComparison.Ordinal)));
        string[] step = lines.Single(line => line.StartsWith("step ", StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("100.0", step[3]);
        Assert.EndsWith("% memory", lines.Single(line => line.StartsWith("LinearForward ", StringComparison.Ordinal)), StringComparison.Ordinal);
        List<(string Category, string Name)> slices = Nested(file);
        Assert.All(operations, name => Assert.Contains(("operation", name), slices));
        Assert.All(parts, name => Assert.Contains(("part", name), slices));
        Assert.DoesNotContain(slices, slice => slice.Category == "kernel");
    }

    /// <summary>A process looks for CUDA's libraries once, so the host device is chosen in one of its own.</summary>
    [Fact]
    public async Task On_a_device_operations_hold_their_kernels()
    {
        Assert.SkipWhen(HostDevice.Folder is null, HostDevice.Problem ?? "");
        string file = _folder.File("step.json");
        string output = await ChildProcess.Run(ProfileOnDevice, HostDevice.Variables(HostDevice.Folder!), file);
        Assert.Contains(" kernels; two marks with nothing between", output, StringComparison.Ordinal);
        Assert.Matches(@"\n  embedding_forward [^\n]* % (special|memory|multiply-add)\n", output);
        Assert.All(
            ["copy", "read", "tensor cores", "multiply-add", "special functions"],
            ceiling => Assert.Matches($"[:,] {ceiling} [0-9.,e-]+ (GB/s|TFLOP/s|Gop/s)", output));
        List<(string Category, string Name)> slices = Nested(file);
        Assert.Contains(slices, slice => slice is ("kernel", _) && slice.Name.StartsWith("embedding_forward ", StringComparison.Ordinal));
    }

    [Theory, MemberData(nameof(Mistakes))]
    public async Task A_mistake_is_one_line(string arguments, string named)
    {
        (int code, string output, string error) = await Run($"{arguments} --device cpu");
        Assert.Equal((ExitCode.Usage, ""), (code, output));
        Assert.Contains(named, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Fact]
    public void Medians_fit_into_one_another()
    {
        ProfileSlice merged = ProfileSlice.Median([Step(3, 1, 5), Step(5, 4, 1), Step(4, 9, 2)]);
        Assert.Equal([4, 4, 2], merged.Children.Select(child => child.Milliseconds));
        Assert.Equal([0, 4, 8], merged.Children.Select(child => child.Offset));
        Assert.Equal(10, merged.Milliseconds);
        Assert.Throws<InvalidOperationException>(() => ProfileSlice.Median([Step(1, 2), Step(1, 2, 3)]));
        Assert.Equal(2.5, ProfileSlice.MedianOf([4, 1, 2, 3]));
    }

    public void Dispose() => _folder.Dispose();

    private static ProfileSlice Step(params double[] operations)
    {
        ProfileSlice step = new(SliceKind.Step, "step");
        step.Children.AddRange(operations.Select(milliseconds => new ProfileSlice(SliceKind.Operation, "op") { Milliseconds = milliseconds }));
        return step;
    }

    private static void ProfileOnDevice(string file)
    {
        using StringWriter output = new(), error = new();
        string[] words = ["profile", "--device", "cuda", "--what", "decode", .. Tiny.Split(' '), "--dtype", "fp32", "--trace", file];
        int code = CommandRunner.RunAsync(words, output, error).GetAwaiter().GetResult();
        Assert.Equal((ExitCode.Done, ""), (code, error.ToString()));
        Console.WriteLine(output);
    }

    /// <summary>The slices of a trace, after checking that each lies in the one around it and is of a smaller kind.</summary>
    private static List<(string Category, string Name)> Nested(string file)
    {
        string[] kinds = ["step", "part", "operation", "kernel"];
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
        Stack<(decimal End, int Kind)> around = [];
        List<(string Category, string Name)> slices = [];
        decimal last = 0;
        foreach (JsonElement slice in document.RootElement.GetProperty("traceEvents").EnumerateArray())
        {
            if (slice.GetProperty("ph").GetString() == "M")
            {
                Assert.NotEqual("", slice.GetProperty("args").GetProperty("name").GetString());
                continue;
            }

            Assert.Equal(("X", 1, 1), (slice.GetProperty("ph").GetString(), slice.GetProperty("pid").GetInt32(), slice.GetProperty("tid").GetInt32()));
            decimal begin = slice.GetProperty("ts").GetDecimal(), length = slice.GetProperty("dur").GetDecimal();
            int kind = Array.IndexOf(kinds, slice.GetProperty("cat").GetString());
            Assert.True(kind >= 0 && length >= 0 && begin >= last);
            last = begin;

            // Slices are written each before what lies in it; what is no larger kind and ends no later is around.
            while (around.Count > 0 && (around.Peek().End < begin + length || around.Peek().Kind > kind))
            {
                Assert.True(around.Pop().End <= begin, $"{slice} crosses the end of another.");
            }

            Assert.Equal(slices.Count == 0, around.Count == 0);
            around.Push((begin + length, kind));
            slices.Add((slice.GetProperty("cat").GetString()!, slice.GetProperty("name").GetString()!));
        }

        Assert.Equal("step", slices[0].Category);
        return slices;
    }

    private static async Task<(int Code, string Output, string Error)> Run(string arguments)
    {
        using StringWriter output = new(), error = new();
        string[] words = ["profile", .. arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        int code = await CommandRunner.RunAsync(words, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
