using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda train as its users meet it.</summary>
public sealed class TrainCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("nowhere"), InlineData("")]
    public async Task A_tokenizer_that_is_not_there_is_told(string name)
    {
        string text = _folder.Write("a.txt", "text"), tokens = _folder.File("a.tokens"), tokenizer = _folder.File(name);
        Assert.Equal(ExitCode.Done, (await Run("tokenize", text, "--output", tokens)).Code);
        (int code, string output, string error) = await Run("train", tokens, "--output", _folder.File("run"), "--tokenizer", tokenizer);
        Assert.Equal((ExitCode.BadFile, ""), (code, output));
        Assert.Contains(tokenizer, error, StringComparison.Ordinal);
        Assert.Contains("there is no such file", error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder.File("run")));
    }

    [Fact]
    public async Task Texts_are_made_into_tokens_in_the_run_s_folder_once()
    {
        string text = _folder.Write("a.txt", Words(200)), lines = _folder.Write("b.jsonl", $"{{\"body\":\"{Words(50)}\"}}\n");
        string run = _folder.File("run");
        string[] arguments = [.. Tiny(run), text, lines, "--field", "body"];
        (int code, string output, string error) = await Run([.. arguments, "--steps", "2"]);
        Assert.Equal((ExitCode.Done, Path.Combine(run, "step-0000000002") + Environment.NewLine), (code, output));
        string tokens = Assert.Single(Directory.GetFiles(run, "*.tokens"));
        string expected = _folder.File("expected.tokens");
        Assert.Equal(ExitCode.Done, (await Run("tokenize", text, lines, "--field", "body", "-o", expected)).Code);
        Assert.Equal(await Bytes(expected), await Bytes(tokens));

        // Its time shows that it is not made again, not even where a text's time is another.
        DateTime made = new(2020, 2, 2, 2, 2, 2, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(tokens, made);
        File.SetLastWriteTimeUtc(text, made);
        string leftover = Path.Combine(run, ".texts-0123.tokens.89ab.new");
        await File.WriteAllTextAsync(leftover, "half", TestContext.Current.CancellationToken);
        (code, _, error) = await Run([.. arguments, "--steps", "4"]);
        Assert.Equal(ExitCode.Done, code);
        Assert.DoesNotContain("have changed", error, StringComparison.Ordinal);
        Assert.Equal(made, File.GetLastWriteTimeUtc(Assert.Single(Directory.GetFiles(run, "*.tokens"))));
        Assert.False(File.Exists(leftover));

        _folder.Write("a.txt", Words(201));
        (code, _, error) = await Run([.. arguments, "--steps", "5"]);
        Assert.Equal(ExitCode.Done, code);
        Assert.Contains("have changed", error, StringComparison.Ordinal);
        Assert.NotEqual(tokens, Assert.Single(Directory.GetFiles(run, "*.tokens")));
    }

    [Fact]
    public async Task The_tokenizer_of_texts_goes_into_every_checkpoint()
    {
        string run = _folder.File("run"), text = _folder.Write("a.txt", Words(200));
        Assert.Equal(ExitCode.Done, (await Run([.. Tiny(run), text, "--steps", "2", "--checkpoint-every", "1"])).Code);
        string[] checkpoints = Directory.GetDirectories(run);
        Assert.Equal(2, checkpoints.Length);
        Assert.All(checkpoints, checkpoint => Assert.Equal(0, Tokenizer.Load(checkpoint).EndOfText));
        (int code, string output, _) = await Run("generate", "--model", checkpoints[0], "a", "-n", "3", "--device", "cpu");
        Assert.Equal(ExitCode.Done, code);
        Assert.StartsWith("a", output, StringComparison.Ordinal);

        // Trained further, a checkpoint reads texts by the tokenizer that it has.
        string further = _folder.File("further");
        string[] tuned = ["train", text, "--from", checkpoints[0], "-o", further, .. TinyBatches, "--steps", "1", "--device", "cpu"];
        Assert.Equal(ExitCode.Done, (await Run(tuned)).Code);
        Assert.True(File.Exists(Path.Combine(further, "step-0000000001", "tokenizer.json")));
        File.Delete(Path.Combine(checkpoints[0], "tokenizer.json"));
        (code, _, string error) = await Run(tuned);
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("has no tokenizer.json", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_does_not_fit_is_refused_before_anything_is_made()
    {
        string text = _folder.Write("a.txt", Words(20)), tokens = _folder.File("a.tokens"), run = _folder.File("run");
        string damaged = _folder.Write("damaged.tokens", Words(20)), binary = _folder.Write("b.txt", [0x61, 0xFF]);
        string noEnd = _folder.Write("tokenizer.json", "{ \"type\": \"byte\" }");
        string other = _folder.Write("other.jsonl", "{\"body\":\"a\"}");
        Assert.Equal(ExitCode.Done, (await Run("tokenize", text, "--output", tokens)).Code);
        await Refused(ExitCode.Usage, "'data' missing");
        await Refused(ExitCode.Usage, "one alone, or texts", tokens, text);
        await Refused(ExitCode.Usage, "--field is for JSON lines", tokens, "--field", "body");
        await Refused(ExitCode.Usage, "no standard input", "-");
        await Refused(ExitCode.Usage, "lies in", _folder.Path);
        await Refused(ExitCode.Usage, "tokenize --no-eos", text, "--tokenizer", noEnd);
        await Refused(ExitCode.BadFile, "made by another tokenizer", tokens, "--tokenizer", noEnd);
        await Refused(ExitCode.BadFile, "this is not a token file", damaged);
        await Refused(ExitCode.BadFile, "there is no such file or folder", _folder.File("nowhere"));
        Assert.False(Directory.Exists(run));

        // These show only when the texts are read.
        await Refused(ExitCode.BadFile, "byte 1 is not UTF-8", binary);
        await Refused(ExitCode.BadFile, "choose one with --field", other);
        await Refused(ExitCode.Usage, "--validate-every 1 needs a part to measure", text, "--hold-out", "0", "--validate-every", "1");
        await Refused(ExitCode.Usage, "--hold-out: 1E-09 of", text, "--hold-out", "1e-9");
        await Refused(
            ExitCode.Usage, "--hold-out 0.05 is too little", text, "--length", "16", "--hold-out", "0.05", "--validate-every", "1");
        await Refused(ExitCode.BadFile, "Choose a shorter length", text, "--hold-out", "0");
        Assert.Empty(Directory.GetDirectories(run));

        async Task Refused(int expected, string named, params string[] arguments)
        {
            (int code, string output, string error) = await Run(["train", "--output", run, "--device", "cpu", .. arguments]);
            Assert.True((expected, "") == (code, output), $"{code} {error}");
            Assert.StartsWith("mamba-cuda: ", error, StringComparison.Ordinal);
            Assert.Contains(named, error, StringComparison.Ordinal);
            Assert.Single(error.TrimEnd().Split('\n'));
        }
    }

    private static string[] TinyBatches => ["--batch", "2", "--length", "16", "--hold-out", "0"];

    /// <summary>A run that takes moments; texts and steps are to be added.</summary>
    private static string[] Tiny(string run) =>
        ["train", "--output", run, "--hidden", "16", "--layers", "1", "--device", "cpu", .. TinyBatches];

    private static string Words(int count) => string.Join(' ', Enumerable.Range(0, count).Select(number => $"word{number * 7919 % 101}"));

    private static Task<byte[]> Bytes(string path) => File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);

    private static async Task<(int Code, string Output, string Error)> Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = await CommandRunner.RunAsync(arguments, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
