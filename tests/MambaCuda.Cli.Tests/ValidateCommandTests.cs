using System.Text.Json;
using MambaCuda.Driver;
using MambaCuda.Driver.Tests;
using MambaCuda.Kernels.Tests;
using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda validate: what it prints of rows that pass and of rows that do not, and what it refuses.</summary>
public sealed class ValidateCommandTests
{
    private const int MostColumns = 140;

    public static TheoryData<int, string, string> Mistakes => new()
    {
        { ExitCode.Usage, "No row has 'frobnicate'", "--device cpu --filter frobnicate" },
        { ExitCode.Usage, "No row has", "--device cpu --filter GatherRows,bias" },
        { ExitCode.Usage, "no CUDA device is used", "--device cpu --dtype bf16" },
        { ExitCode.Usage, "--host-device", "--device cpu --host-device /tmp" },
        { ExitCode.Usage, "tpu", "--device tpu" },
        { ExitCode.Usage, "fp8", "--dtype fp8" },
        { ExitCode.Usage, "--frobnicate", "--frobnicate" },
        { ExitCode.Failed, "--device host: ", "--device host --host-device /nowhere" },
    };

    [Theory]
    [InlineData("LogProbabilities"), InlineData("selectivestateupdate b1 n16")]
    [InlineData("AddRmsNorm x fp32 cpu"), InlineData("Embedding w-bf16")]
    public async Task Rows_with_the_words_pass_and_are_lines_of_a_table(string filter)
    {
        (int code, string output, string error) = await Run("--device", "cpu", "--filter", filter, "--small");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        string[] lines = output.TrimEnd().Split(Environment.NewLine);
        Assert.StartsWith("device: cpu, ", lines[0], StringComparison.Ordinal);
        string[] columns = lines[2].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["operation", "type", "error", "bound", "variant", "shape"], columns);
        Assert.Equal("chosen: --device cpu", lines[1]);
        string[] rows = lines[3..^1];
        Assert.NotEmpty(rows);
        Assert.All(rows, row => Assert.StartsWith("pass ", row, StringComparison.Ordinal));
        Assert.All(filter.Split(' '), word => Assert.All(rows, row => Assert.Contains(word, row, StringComparison.OrdinalIgnoreCase)));
        Assert.All(lines, line => Assert.True(line.Length <= MostColumns, line));
        Assert.StartsWith($"{rows.Length} rows: {rows.Length} passed, 0 failed; ", lines[^1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Json_has_what_the_table_has()
    {
        (int code, string output, string error) = await Run("--device", "cpu", "--filter", "GatherRows c33", "--json");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        using JsonDocument document = JsonDocument.Parse(output);
        JsonElement root = document.RootElement, rows = root.GetProperty("rows");
        Assert.Equal((rows.GetArrayLength(), 0, 0), (Count(root, "passed"), Count(root, "failed"), Count(root, "not_run")));
        Assert.StartsWith("cpu, ", root.GetProperty("device").GetString(), StringComparison.Ordinal);
        Assert.Equal("--device cpu", root.GetProperty("reason").GetString());
        JsonElement row = rows[0];
        Assert.Equal(
            ["GatherRows", "cpu", "c33 fp32", "fp32", "destination", "pass"],
            new[] { "operation", "variant", "shape", "type", "output", "verdict" }.Select(name => row.GetProperty(name).GetString()));
        Assert.Equal((0, 0), (row.GetProperty("error").GetDouble(), row.GetProperty("bound").GetDouble()));
        Assert.True(row.GetProperty("milliseconds").GetDouble() > 0);
    }

    [Fact]
    public async Task The_list_has_every_operation_and_small_has_less()
    {
        (int code, string all, _) = await Run("--device", "cpu", "--list");
        Assert.Equal(ExitCode.Done, code);
        string[] operations =
        [
            "EmbeddingForward", "AddRmsNormForward", "LinearForward", "CausalConv1dForward", "CausalConv1dUpdate", "SelectiveScanForward",
            "SelectiveStateUpdate", "GatherRows", "LogProbabilities",
        ];
        (_, string small, _) = await Run("--device", "cpu", "--list", "--small");
        Assert.All(operations, operation => Assert.Contains(operation, small, StringComparison.Ordinal));
        Assert.DoesNotContain("pass", all, StringComparison.Ordinal);
        Assert.True(small.Length < all.Length);
        (_, string json, _) = await Run("--device", "cpu", "--list", "--json", "--filter", "GatherRows");
        using JsonDocument document = JsonDocument.Parse(json);
        Assert.False(document.RootElement.GetProperty("rows")[0].TryGetProperty("verdict", out _));
    }

    [Theory, MemberData(nameof(Mistakes))]
    public async Task A_mistake_is_one_line(int expected, string named, string arguments)
    {
        (int code, string output, string error) = await Run([.. arguments.Split(' ').Select(word => word.Replace(',', ' '))]);
        Assert.Equal((expected, ""), (code, output));
        Assert.StartsWith("mamba-cuda: ", error, StringComparison.Ordinal);
        Assert.Contains(named, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Theory]
    [InlineData(Spoiling.WrongSign, "times the bound of"), InlineData(Spoiling.NotANumber, "is off by NaN")]
    [InlineData(Spoiling.WriteBeside, "GuardException: Memory was changed after row 0 of y")]
    [InlineData(Spoiling.Failure, "InvalidOperationException: The operation is spoiled.")]
    public async Task A_fault_fails_with_its_reason(Spoiling spoiling, string reason)
    {
        (int code, string output) = await Run(new SpoiledBackend(spoiling), "AddRmsNormForward c8", json: false);
        Assert.Equal(ExitCode.Failed, code);
        string[] lines = output.TrimEnd().Split(Environment.NewLine);
        Assert.StartsWith("FAIL AddRmsNormForward ", lines[3], StringComparison.Ordinal);
        Assert.Contains(reason, output, StringComparison.Ordinal);
        Assert.Contains("rows: 0 passed, ", lines[^1], StringComparison.Ordinal);
        Assert.All(output.Split('\n'), line => Assert.True(line.TrimEnd().Length <= MostColumns, line));

        (code, string json) = await Run(new SpoiledBackend(spoiling), "AddRmsNormForward c8", json: true);
        Assert.Equal(ExitCode.Failed, code);
        using JsonDocument document = JsonDocument.Parse(json);
        JsonElement row = document.RootElement.GetProperty("rows")[0];
        Assert.Equal("FAIL", row.GetProperty("verdict").GetString());
        bool isThrown = spoiling is Spoiling.WriteBeside or Spoiling.Failure;
        string problem = row.TryGetProperty("problem", out JsonElement told) ? told.GetString()! : "";
        Assert.Equal(isThrown, problem.Contains(reason, StringComparison.Ordinal));
        bool isNamed = row.TryGetProperty("error", out JsonElement number) && number.ValueKind == JsonValueKind.String;
        Assert.Equal(spoiling == Spoiling.NotANumber, isNamed);
    }

    [Fact]
    public async Task Cancelled_it_tells_what_was_done()
    {
        using CancellationTokenSource cancelled = new();
        using StringWriter output = new();
        int operations = 0;
        SpoiledBackend backend = new(Spoiling.None, () => (++operations == 3 ? cancelled : null)?.Cancel());
        using ValidationRun run = new([backend], "a test", "LogProbabilities", small: false);
        Assert.Equal(ExitCode.Cancelled, await run.RunAsync(output, TextWriter.Null, json: false, cancelled.Token));
        Assert.Matches("2 rows: 2 passed, 0 failed; [0-9]+ not run: cancelled; ", output.ToString());
    }

    /// <summary>A process looks for CUDA's libraries once, so the host device is chosen in one of its own.</summary>
    [Fact]
    public async Task The_host_device_runs_the_kernels()
    {
        Assert.SkipWhen(HostDevice.Folder is null, HostDevice.Problem ?? "");
        Dictionary<string, string?> none = new() { [LibraryFinder.PathVariable] = null };
        string sources = Path.Combine(Fixtures.RepositoryRoot, "native", "host");
        foreach (string place in new[] { sources, HostDevice.Folder })
        {
            string output = await ChildProcess.Run(ValidateOnHost, none, place, "AddRmsNormForward pass r9 c8");
            Assert.Contains($"device: MambaCuda host device, ", output, StringComparison.Ordinal);
            Assert.Contains($"host device of {place}", output, StringComparison.Ordinal);
            Assert.Contains("one pass aligned", output, StringComparison.Ordinal);
            Assert.Contains(" passed, 0 failed", output, StringComparison.Ordinal);
        }
    }

    private static void ValidateOnHost(string place, string filter)
    {
        string[] words = ["validate", "--device", "host", "--host-device", place, "--filter", filter, "--dtype", "fp16"];
        int code = CommandRunner.RunAsync(words, Console.Out, Console.Error, CancellationToken.None).GetAwaiter().GetResult();
        Assert.Equal(ExitCode.Done, code);
    }

    private static int Count(JsonElement root, string name) => root.GetProperty(name).GetInt32();

    private static async Task<(int Code, string Output)> Run(SpoiledBackend backend, string filter, bool json)
    {
        using StringWriter output = new();
        using ValidationRun run = new([backend], "a test", filter, small: true);
        int code = await run.RunAsync(output, TextWriter.Null, json, TestContext.Current.CancellationToken);
        return (code, output.ToString());
    }

    private static async Task<(int Code, string Output, string Error)> Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = await CommandRunner.RunAsync(["validate", .. arguments], output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
