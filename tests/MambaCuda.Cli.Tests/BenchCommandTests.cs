using System.Text.Json;
using MambaCuda.Driver;
using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda bench on the CPU: what it prints and writes, and what it refuses. How fast anything is, no test says.</summary>
public sealed class BenchCommandTests : IDisposable
{
    private const string Begin = "<!-- mamba-cuda bench --render writes from here -->";
    private const string End = "<!-- to here -->";

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Operations =>
    [
        "scan --shape 2x8x5", "scan --shape 1x8x5 --state-size 3", "state-update --shape 3x8", "conv1d --shape 2x8x5", "conv1d-update --shape 3x8",
        "add-rms-norm --shape 3x8", "linear --shape 3x8x5", "embedding --shape 3x8", "copy --shape 1", "prefill --model tiny --shape 2x5",
        "decode --model tiny --shape 2", "score --model tiny --shape 2x5",
        "linear --shape 3x8x5 --variant int4", "decode --model tiny --shape 2 --variant int8",
    ];

    public static TheoryData<string, string> Mistakes => new()
    {
        { "", "Name an operation" },
        { "scan --suite ops", "one of them" },
        { "skan", "There is no operation 'skan'; there are scan, " },
        { "scan --shape 8x2048", "BATCHxCHANNELSxLENGTH, as in 8x2048x2048" },
        { "scan --shape 8xax2", "'a' is not a positive number" },
        { "scan --shape 8x0x2", "'0' is not a positive number" },
        { "scan --variant own", "scan has but one way" },
        { "linear --variant fast", "cublaslt, own" },
        { "scan --model 130m", "no operation of a whole model" },
        { "scan --state-size 257", "1 to 256" },
        { "scan --launches 0", "1 to 1000" },
        { "scan --dtype bf16", "fp32" },
        { "prefill --model 131m", "130m" },
        { "--suite cpu --suite ops", "give it alone" },
    };

    [Theory, MemberData(nameof(Operations))]
    public async Task An_operation_is_measured_and_its_file_says_so(string arguments)
    {
        string file = _folder.File("result.json");
        (int code, string output, string error) = await Run($"{arguments} --device cpu --runs 3 --json {file} --commit abc");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        Assert.Contains("3 runs", output, StringComparison.Ordinal);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
        JsonElement root = document.RootElement, row = Assert.Single(root.GetProperty("rows").EnumerateArray());
        Assert.Equal("abc", root.GetProperty("commit").GetString());
        Assert.StartsWith("mamba-cuda bench ", root.GetProperty("command").GetString(), StringComparison.Ordinal);
        Assert.True(root.GetProperty("copy_gigabytes_per_second").GetDouble() > 0);
        Assert.Equal($"mamba-cuda bench {arguments} --dtype fp32".Split(' ').Order(), row.GetProperty("command").GetString()!.Split(' ').Order());
        Assert.Equal("host", row.GetProperty("clock").GetString());
        double least = row.GetProperty("min_ms").GetDouble(), median = row.GetProperty("median_ms").GetDouble();
        Assert.True(least > 0 && least <= median && median <= row.GetProperty("max_ms").GetDouble());
        Assert.True(row.GetProperty("bytes").GetInt64() > 0);
        Assert.False(row.TryGetProperty("problem", out _));
    }

    [Theory, MemberData(nameof(Mistakes))]
    public async Task A_mistake_is_one_line(string arguments, string named)
    {
        (int code, string output, string error) = await Run($"{arguments} --device cpu");
        Assert.Equal((ExitCode.Usage, ""), (code, output));
        Assert.Contains(named, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Theory]
    [InlineData("read", "measures a card")]
    [InlineData("scan --shape 1x8x5 --launches 2", "timed by the host's clock")]
    public async Task What_cannot_be_measured_is_told_and_fails(string arguments, string why)
    {
        (int code, string output, _) = await Run($"{arguments} --device cpu");
        Assert.Equal(ExitCode.Failed, code);
        Assert.Contains(why, output, StringComparison.Ordinal);
    }

    /// <summary>Of moving, products, other arithmetic and special functions, what takes longest.</summary>
    [Fact]
    public void Work_takes_at_least_what_the_nearest_ceiling_says()
    {
        DeviceCeilings card = new() { Copy = 4000, Read = 5000, Matrix = 800, MultiplyAdd = 50, Special = 4000 };
        OperationWork work = new(Bytes: 5_000_000_000) { Products = 4e12, Arithmetic = 1e10, Special = 1e9 };
        Assert.Equal((5.0, "tensor"), card.Least(work, DataType.BFloat16));
        Assert.Equal((1.0, "memory"), card.Least(work, DataType.Float32));
        Assert.Equal((2.0, "special"), card.Least(work with { Special = 8e9 }, DataType.Float32));
        Assert.Equal((4.0, "multiply-add"), card.Least(work with { Arithmetic = 2e11 }, DataType.Float32));
        Assert.Equal((1.25, "memory"), (card with { Read = null }).Least(work, DataType.Float32));
        Assert.Equal((1.25, "memory"), new DeviceCeilings { Copy = 4000 }.Least(work, DataType.BFloat16));
        Assert.Null(card.Least(work with { IsTransfer = true }, DataType.BFloat16));
        Assert.Null(card.Least(default, DataType.BFloat16));
    }

    [Theory]
    [InlineData("bandwidth.cu", 75), InlineData("hold.cu", 75), InlineData("arithmetic.cu", 75), InlineData("arithmetic.cu", 80), InlineData("arithmetic.cu", 90)]
    public void Probes_compile(string file, int capability)
    {
        Assert.SkipUnless(RuntimeCompiler.Search.IsFound, $"There is no NVRTC. {CudaLibrary.Nvrtc.Remedy}");
        ComputeCapability card = new(capability / 10, capability % 10);
        Assert.SkipUnless(RuntimeCompiler.Load().SupportedArchitectures.Contains(card), $"This NVRTC does not know {card}.");
        CompiledProgram compiled = new KernelCompiler(RuntimeCompiler.Load(), cache: null).Compile(ProbeModule.Program(file), card);
        Assert.False(compiled.Image.IsEmpty);
    }

    [Fact]
    public async Task Tables_are_written_between_the_marks_and_again_give_the_same_page()
    {
        await Run($"linear --shape 1x8x8 --device cpu --runs 3 --json {_folder.File("some.json")} --commit abc");
        string page = _folder.Write("README.md", $"before\n\n{Begin}\nold\n{End}\n\nafter\n");
        Assert.Equal(ExitCode.Done, (await Run($"--render {_folder.Path}")).Code);
        string text = await File.ReadAllTextAsync(page, TestContext.Current.CancellationToken);
        Assert.StartsWith($"before\n\n{Begin}\n\n### some\n\nCommit abc, ", text, StringComparison.Ordinal);
        Assert.Contains("| linear 1 x 8 x 8 | fp32 | ", text, StringComparison.Ordinal);
        Assert.Contains("| `bench linear --shape 1x8x8 --dtype fp32` |", text, StringComparison.Ordinal);
        Assert.EndsWith($"\n{End}\n\nafter\n", text, StringComparison.Ordinal);
        Assert.DoesNotContain("old", text, StringComparison.Ordinal);

        await Run($"--render {_folder.Path}");
        Assert.Equal(text, await File.ReadAllTextAsync(page, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void A_whole_model_on_a_card_tells_its_memory()
    {
        BenchResult result = new()
        {
            Operation = "prefill",
            Model = "130m",
            Shape = "1x1048576",
            Type = "bf16",
            Command = "mamba-cuda bench prefill --model 130m --shape 1x1048576 --dtype bf16",
            MedianMs = 1000,
            Elements = 1 << 20,
            PeakMemoryBytes = 3L << 29,
        };
        Assert.EndsWith(", at most 1.50 GiB", BenchTable.Line(result), StringComparison.Ordinal);
        BenchMachine machine = new() { Device = "card", Host = "host", Runtime = ".NET" };
        BenchReport report = new() { Command = "", Commit = "abc", Date = DateTime.UnixEpoch, Machine = machine, Rows = [result] };
        string[] lines = BenchTable.Section("some", report).TrimEnd().Split('\n');
        Assert.Contains("| of ceiling | memory | command |", lines[^3], StringComparison.Ordinal);
        Assert.Contains("|  | 1.50 GiB | `bench prefill", lines[^1], StringComparison.Ordinal);
        Assert.All(lines[^3..], line => Assert.Equal(11, line.Count(letter => letter == '|')));
        Assert.Contains("\"peak_memory_bytes\": 1610612736", report.ToJson(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_page_without_marks_and_a_file_that_is_no_result_are_refused()
    {
        string page = _folder.Write("README.md", "nothing\n");
        (int code, _, string error) = await Run($"--render {_folder.Path}");
        Assert.Equal(ExitCode.BadFile, code);
        Assert.Contains(Begin, error, StringComparison.Ordinal);

        _folder.Write("README.md", $"{Begin}\n{End}\n");
        _folder.Write("x.json", "{}");
        (code, _, error) = await Run($"--render {_folder.Path}");
        Assert.Equal(ExitCode.BadFile, code);
        Assert.Contains("x.json is no result", error, StringComparison.Ordinal);
        Assert.Equal($"{Begin}\n{End}\n", await File.ReadAllTextAsync(page, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task The_tables_of_the_repository_are_those_of_its_files()
    {
        string results = Path.Combine(Fixtures.RepositoryRoot, "bench", "results");
        foreach (string file in Directory.GetFiles(results))
        {
            File.Copy(file, _folder.File(Path.GetFileName(file)));
        }

        Assert.Equal(ExitCode.Done, (await Run($"--render {_folder.Path}")).Code);
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        Assert.Equal(
            await File.ReadAllTextAsync(Path.Combine(results, "README.md"), cancellation), await File.ReadAllTextAsync(_folder.File("README.md"), cancellation));
    }

    public void Dispose() => _folder.Dispose();

    private static async Task<(int Code, string Output, string Error)> Run(string arguments)
    {
        using StringWriter output = new(), error = new();
        string[] words = ["bench", .. arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        int code = await CommandRunner.RunAsync(words, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
