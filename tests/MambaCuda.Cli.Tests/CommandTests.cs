using System.Text.Json;
using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>The command line as its users meet it: results on one stream, one line of error on the other, an exit code.</summary>
public sealed class CommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;

    private static string SampleText => Path.Combine(Fixtures.RepositoryRoot, "tests", "MambaCuda.Tests", "Data", "heldout-sample.txt");

    [Fact]
    public async Task Generate_continues_the_prompt_with_the_model_that_comes_along()
    {
        (int code, string output, string error) = await Run("generate", "Gets or sets the", "--temperature", "0", "--max-tokens", "60");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        Assert.StartsWith("Gets or sets the", output, StringComparison.Ordinal);
        Assert.Equal("Gets or sets the".Length + 60 + Environment.NewLine.Length, output.Length);
    }

    [Fact]
    public async Task Json_has_ids_text_and_the_reason_and_repeats_with_the_seed()
    {
        string[] arguments = ["generate", "Returns ", "--seed", "5", "--max-tokens", "40", "--json", "--top-k", "20"];
        (int code, string output, _) = await Run(arguments);
        Assert.Equal(ExitCode.Done, code);
        using JsonDocument document = JsonDocument.Parse(output);
        Assert.Equal(8, document.RootElement.GetProperty("prompt_ids").GetArrayLength());
        Assert.Equal(40, document.RootElement.GetProperty("ids").GetArrayLength());
        Assert.Equal("max_tokens", document.RootElement.GetProperty("finish_reason").GetString());
        Assert.Equal(output, (await Run(arguments)).Output);
    }

    [Fact]
    public async Task A_saved_state_goes_on_where_the_text_ended()
    {
        string state = Path.Combine(_folder, "s.state");
        string whole = Ids((await Run("generate", "The list", "--temperature", "0", "-n", "30", "--json")).Output);
        string first = Ids((await Run("generate", "The list", "--temperature", "0", "-n", "10", "--json", "--save-state", state)).Output);
        string rest =
            Ids((await Run("generate", "--load-state", state, "--prompt-ids", "", "--temperature", "0", "-n", "20", "--json")).Output);
        Assert.Equal(whole, $"{first},{rest}");
        Assert.Equal([state], Directory.GetFiles(_folder));
    }

    [Fact]
    public async Task A_draft_goes_on_from_a_state_of_its_own()
    {
        string state = Path.Combine(_folder, "s.state"), draft = Path.Combine(AppContext.BaseDirectory, "DefaultModel");
        string[] both = ["--draft", draft, "--temperature", "0", "--json", "--verbose"];
        string whole = Ids((await Run("generate", "The list", "--temperature", "0", "-n", "30", "--json")).Output);
        string first = Ids((await Run(["generate", "The list", "-n", "10", "--save-state", state, .. both])).Output);
        Assert.Equal([state, $"{state}.draft"], Directory.GetFiles(_folder).Order());
        string[] further = ["generate", "--load-state", state, "--prompt-ids", "", "-n", "20", .. both];
        (_, string output, string error) = await Run(further);
        Assert.Equal(whole, $"{first},{Ids(output)}");
        // The model is its own draft here, so one that knows what was before guesses everything.
        Assert.Contains("(100", error, StringComparison.Ordinal);

        File.Delete($"{state}.draft");
        (_, output, error) = await Run([.. further, "--save-state", state]);
        Assert.Equal(whole, $"{first},{Ids(output)}");
        Assert.DoesNotContain("(100", error, StringComparison.Ordinal);
        Assert.Equal([state], Directory.GetFiles(_folder));
    }

    [Fact]
    public async Task A_draft_changes_how_a_text_is_made_and_not_the_text()
    {
        string draft = Path.Combine(AppContext.BaseDirectory, "DefaultModel");
        foreach (string[] sampling in new string[][] { ["--temperature", "0"], ["--seed", "4"] })
        {
            string[] arguments = ["generate", "The list", "-n", "30", "--json", .. sampling];
            string alone = Ids((await Run(arguments)).Output);
            (int code, string output, string error) =
                await Run([.. arguments, "--draft", draft, "--draft-tokens", "3", "--prompt-chunk", "5", "--verbose"]);
            Assert.Equal((ExitCode.Done, alone), (code, Ids(output)));
            Assert.Matches(@"draft: \d+ of \d+ tokens accepted \(\d+ ?%\); 30 tokens from the prompt and \d+ passes", error);
        }

        foreach ((string[] wrong, string message) in new (string[], string)[]
        {
            (["--draft", draft, "--draft-tokens", "0"], "1 to 32"),
            (["--draft-tokens", "2"], "--draft"),
            (["--prompt-chunk", "0"], "1 or more"),
        })
        {
            (int code, _, string error) = await Run(["generate", "The list", .. wrong]);
            Assert.Equal(ExitCode.Usage, code);
            Assert.Contains(message, error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_prompt_cache_serves_the_next_call()
    {
        string[] arguments = ["generate", "The list", "--seed", "3", "-n", "12", "--json", "--prompt-cache", _folder];
        string first = (await Run(arguments)).Output;
        string[] files = Directory.GetFiles(_folder);
        Assert.Equal(2, files.Length);
        (int code, string output, string error) = await Run(arguments);
        Assert.Equal((ExitCode.Done, first, ""), (code, output, error));
        Assert.Equal(files.Order(), Directory.GetFiles(_folder).Order());

        // Not kept where there is no room, nor where nothing can be written; the text is the same.
        string without = (await Run([.. arguments[..^1], Path.Combine(_folder, "none"), "--prompt-cache-size", "0"])).Output;
        Assert.Equal(first, without);
        Assert.Empty(Directory.GetFiles(Path.Combine(_folder, "none")));
        Assert.Equal(ExitCode.Usage, (await Run([.. arguments, "--prompt-cache-size", "-1"])).Code);
        Assert.Equal(ExitCode.Usage, (await Run([.. arguments, "--load-state", files[0]])).Code);
    }

    [Fact]
    public async Task Perplexity_is_that_of_PyTorch()
    {
        (int code, string output, _) = await Run("perplexity", SampleText, "--json");
        Assert.Equal(ExitCode.Done, code);
        using JsonDocument expected = JsonDocument.Parse(await File.ReadAllTextAsync(
            Path.ChangeExtension(SampleText, ".json"), TestContext.Current.CancellationToken));
        using JsonDocument actual = JsonDocument.Parse(output);
        Assert.Equal(
            expected.RootElement.GetProperty("bits_per_byte").GetDouble(), actual.RootElement.GetProperty("bits_per_byte").GetDouble(), 4);
    }

    [Fact]
    public async Task Info_tells_of_model_and_machine()
    {
        (int code, string output, _) = await Run("info", "--json");
        Assert.Equal(ExitCode.Done, code);
        using JsonDocument document = JsonDocument.Parse(output);
        Assert.Equal(256, document.RootElement.GetProperty("model").GetProperty("vocabulary_size").GetInt32());
        Assert.True(document.RootElement.GetProperty("machine").GetProperty("searched").GetArrayLength() > 0);
        Assert.Contains("parameters", (await Run("info")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Convert_changes_layout_and_type_and_the_text_stays()
    {
        string copy = Path.Combine(_folder, "copy");
        string model = Path.Combine(AppContext.BaseDirectory, "DefaultModel");
        (int code, _, string error) = await Run("convert", model, copy, "--dtype", "fp32", "--max-shard-size", "4");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        Assert.True(File.Exists(Path.Combine(copy, "model.safetensors.index.json")));
        string[] arguments = ["generate", "The list", "--temperature", "0", "-n", "30"];
        Assert.Equal((await Run(arguments)).Output, (await Run([.. arguments, "--model", copy])).Output);
    }

    [Theory, InlineData("int8", "int8 in groups of 128"), InlineData("int4", "int4 in groups of 32")]
    public async Task A_quantized_copy_runs_and_is_told_of(string type, string told)
    {
        string copy = Path.Combine(_folder, type), model = Path.Combine(AppContext.BaseDirectory, "DefaultModel");
        (int code, string output, string error) = await Run("convert", model, copy, "--quantize", type);
        Assert.Equal((ExitCode.Done, ""), (code, error));
        Assert.StartsWith($"{copy}: ", output, StringComparison.Ordinal);
        string[] arguments = ["generate", "Gets or sets the", "--temperature", "0", "-n", "12", "--device", "cpu", "--model", copy];
        (code, output, error) = await Run(arguments);
        Assert.Equal((ExitCode.Done, ""), (code, error));
        Assert.Equal("Gets or sets the".Length + 12 + Environment.NewLine.Length, output.Length);
        Assert.Contains($"projections and head quantized: {told}", (await Run("info", "--model", copy)).Output, StringComparison.Ordinal);
        using JsonDocument info = JsonDocument.Parse((await Run("info", "--model", copy, "--json")).Output);
        JsonElement quantized = info.RootElement.GetProperty("model");
        Assert.Equal(told, quantized.GetProperty("quantization").GetString());
        Assert.True(quantized.GetProperty("weight_bytes").GetInt64() < 0.7 * new FileInfo(Path.Combine(model, "model.safetensors")).Length);

        string text = Path.Combine(_folder, "text.txt");
        string sample = await File.ReadAllTextAsync(SampleText, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(text, sample[..800], TestContext.Current.CancellationToken);
        using JsonDocument before = JsonDocument.Parse((await Run("perplexity", text, "--json")).Output);
        using JsonDocument after = JsonDocument.Parse((await Run("perplexity", text, "--json", "--model", copy)).Output);
        double ratio = after.RootElement.GetProperty("perplexity").GetDouble() / before.RootElement.GetProperty("perplexity").GetDouble();
        Assert.InRange(ratio, 0.9, 1.1);

        (code, output, error) = await Run("convert", copy, Path.Combine(_folder, "again"), "--quantize", "int4");
        Assert.Equal((ExitCode.BadFile, ""), (code, output));
        Assert.Contains("quantized already", error, StringComparison.Ordinal);
    }

    public static TheoryData<int, string, string[]> Mistakes => new()
    {
        { ExitCode.Usage, "--temperature", ["generate", "a", "--temperature", "warm"] },
        { ExitCode.Usage, "TopP", ["generate", "a", "--top-p", "3"] },
        { ExitCode.Usage, "max-tokens", ["generate", "a", "--max-tokens", "0"] },
        { ExitCode.Usage, "once", ["generate", "a", "--prompt-ids", "1"] },
        { ExitCode.Usage, "'x'", ["generate", "--prompt-ids", "1,x"] },
        { ExitCode.Usage, "Temperature must be 0 or a positive number. Actual", ["generate", "a", "--temperature", "-1"] },
        { ExitCode.Usage, "no option --jason", ["generate", "--jason"] },
        { ExitCode.Usage, "fp32", ["generate", "a", "--device", "cpu", "--activations", "bf16"] },
        { ExitCode.Usage, "tpu", ["generate", "a", "--device", "tpu"] },
        { ExitCode.Usage, "frobnicate", ["frobnicate"] },
        { ExitCode.BadFile, "nowhere", ["generate", "a", "--model", "/nowhere"] },
        { ExitCode.BadFile, "nowhere", ["generate", "a", "--load-state", "/nowhere"] },
        { ExitCode.BadFile, "nowhere", ["perplexity", "/nowhere"] },
        { ExitCode.BadFile, "nowhere", ["convert", "/nowhere", "/tmp/never-written"] },
        { ExitCode.Usage, "int3", ["convert", "/nowhere", "/tmp/never-written", "--quantize", "int3"] },
        { ExitCode.Usage, "it is 64 or 128", ["convert", "/nowhere", "/tmp/never-written", "--quantize", "int8", "--group-size", "32"] },
        { ExitCode.Usage, "--quantize", ["convert", "/nowhere", "/tmp/never-written", "--group-size", "32"] },
        { ExitCode.Failed, "vocabulary", ["generate", "--prompt-ids", "300"] },
    };

    [Theory]
    [MemberData(nameof(Mistakes))]
    public async Task A_mistake_is_one_line_and_an_exit_code(int expected, string named, string[] arguments)
    {
        (int code, string output, string error) = await Run(arguments);
        Assert.Equal(expected, code);
        Assert.Equal("", output);
        Assert.StartsWith("mamba-cuda: ", error, StringComparison.Ordinal);
        Assert.Contains(named, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Fact]
    public async Task A_prompt_of_dashes_goes_after_a_lone_one() =>
        Assert.StartsWith("--jason", (await Run("generate", "-n", "1", "--", "--jason")).Output, StringComparison.Ordinal);

    [Theory]
    [InlineData("generate"), InlineData("info"), InlineData("convert"), InlineData("perplexity"), InlineData("tokenize")]
    [InlineData("train"), InlineData("task"), InlineData("bench"), InlineData("validate")]
    public async Task Help_shows_the_examples_of_a_command_only_to_who_asks_for_them(string command)
    {
        (int code, string output, string error) = await Run(command, "--help");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        Assert.Contains("Examples:", output, StringComparison.Ordinal);
        Assert.Contains($"  mamba-cuda {command} ", output, StringComparison.Ordinal);
        string list = (await Run("--help")).Output;
        list = list[list.IndexOf("Commands:", StringComparison.Ordinal)..];
        Assert.Contains($"  {command} ", list, StringComparison.Ordinal);
        Assert.DoesNotContain("Examples:", list, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Verbose_shows_the_trace()
    {
        (_, _, string error) = await Run("generate", "a", "--model", "/nowhere", "--verbose");
        Assert.Contains("   at ", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cancelled_command_says_so()
    {
        using CancellationTokenSource cancelled = new();
        await cancelled.CancelAsync();
        using StringWriter output = new(), error = new();
        Assert.Equal(ExitCode.Cancelled, await CommandRunner.RunAsync(["generate", "a"], output, error, cancelled.Token));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Ids(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return string.Join(',', document.RootElement.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()));
    }

    private static async Task<(int Code, string Output, string Error)> Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = await CommandRunner.RunAsync(arguments, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
