using System.Text.Json;
using MambaCuda.Testing;
using MambaCuda.Training;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda tokenize as its users meet it.</summary>
public sealed class TokenizeCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Texts_become_a_token_file_and_every_third_document_is_held_out()
    {
        for (int i = 0; i < 7; i++)
        {
            _folder.Write($"{i}.md", $"document {i}");
        }

        string tokens = _folder.File("a.tokens"), heldOut = _folder.File("b.tokens");
        (int code, string output, string error) = await Run(
            "tokenize", _folder.Path, "--include", "*.md", "--output", tokens, "--held-out", heldOut, "--held-out-every", "3", "--json");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        using JsonDocument document = JsonDocument.Parse(output);
        Assert.Equal(
            (55, 5, 22, 2, 70),
            (Number("tokens"), Number("documents"), Number("held_out_tokens"), Number("held_out_documents"), Number("bytes")));
        using TokenFile file = TokenFile.Open(tokens), other = TokenFile.Open(heldOut);
        file.CheckMadeBy(Tokenizer.Load(Path.Combine(AppContext.BaseDirectory, "DefaultModel")));
        Assert.Equal((55L, 0, 2L), (file.TokenCount, file.EndOfDocument, other.DocumentCount));
        int[] ids = new int[11];
        other.Read(11, ids);
        Assert.Equal("document 5\0", new ByteTokenizer(0).Decode(ids));

        int Number(string name) => document.RootElement.GetProperty(name).GetInt32();
    }

    [Fact]
    public async Task The_summary_names_the_file_and_counts()
    {
        string tokens = _folder.File("a.tokens"), lines = _folder.Write("a.jsonl", "{\"body\":\"1234\"}\n{\"body\":\"\"}\n");
        (int code, string output, string error) = await Run("tokenize", lines, "--field", "body", "-o", tokens, "--no-eos");
        Assert.Equal((ExitCode.Done, ""), (code, error));
        Assert.Equal($"{tokens}: 4 tokens in 2 documents{Environment.NewLine}of 28 bytes{Environment.NewLine}", output);
    }

    [Fact]
    public async Task A_file_that_is_there_stays_unless_it_is_forced()
    {
        string text = _folder.Write("a.txt", "text"), tokens = _folder.Write("a.tokens", "kept");
        (int code, string output, string error) = await Run("tokenize", text, "--output", tokens);
        Assert.Equal((ExitCode.BadFile, ""), (code, output));
        Assert.Contains("--force", error, StringComparison.Ordinal);
        Assert.Equal("kept", await File.ReadAllTextAsync(tokens, TestContext.Current.CancellationToken));
        Assert.Equal(ExitCode.Done, (await Run("tokenize", text, "--output", tokens, "--force")).Code);
        TokenFile.Open(tokens).Dispose();

        // Where tokenizing fails, the old file stays even if it is forced.
        byte[] before = await File.ReadAllBytesAsync(tokens, TestContext.Current.CancellationToken);
        string bad = _folder.Write("bad.txt", [0xFF]);
        Assert.Equal(ExitCode.BadFile, (await Run("tokenize", text, bad, "--output", tokens, "--force")).Code);
        Assert.Equal(before, await File.ReadAllBytesAsync(tokens, TestContext.Current.CancellationToken));
        Assert.Equal(3, Directory.GetFiles(_folder.Path).Length);
    }

    public static TheoryData<int, string, string[]> Mistakes => new()
    {
        { ExitCode.Usage, "--output", ["tokenize", "a"] },
        { ExitCode.Usage, "'input' missing", ["tokenize", "--output", "never"] },
        { ExitCode.Usage, "xml", ["tokenize", "a", "--output", "never", "--format", "xml"] },
        { ExitCode.Usage, "--threads is -1", ["tokenize", "a", "--output", "never", "--threads", "-1"] },
        { ExitCode.Usage, "--held-out-every is 1", ["tokenize", "a", "--output", "never", "--held-out", "b", "--held-out-every", "1"] },
        { ExitCode.Usage, "the same file", ["tokenize", "a", "--output", "never", "--held-out", "./never"] },
        { ExitCode.BadFile, "/nowhere: there is no such file or folder", ["tokenize", "/nowhere", "--output", "never"] },
        { ExitCode.BadFile, "/nowhere", ["tokenize", "a", "--output", "/nowhere/never"] },
        { ExitCode.BadFile, "/nowhere", ["tokenize", "a", "--output", "never", "--tokenizer", "/nowhere"] },
    };

    [Theory]
    [MemberData(nameof(Mistakes))]
    public async Task A_mistake_is_one_line_and_leaves_nothing(int expected, string named, string[] arguments)
    {
        (int code, string output, string error) = await Run(arguments);
        Assert.Equal((expected, ""), (code, output));
        Assert.StartsWith("mamba-cuda: ", error, StringComparison.Ordinal);
        Assert.Contains(named, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
        Assert.Empty(Directory.GetFiles(Directory.GetCurrentDirectory(), "*never*"));
    }

    [Fact]
    public async Task A_tokenizer_without_an_end_of_text_needs_to_be_told()
    {
        string tokenizer = _folder.Write("tokenizer.json", "{ \"type\": \"byte\" }"), text = _folder.Write("a.txt", "text");
        string[] arguments = ["tokenize", text, "--tokenizer", tokenizer, "--output", _folder.File("a.tokens")];
        (int code, _, string error) = await Run(arguments);
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("--no-eos", error, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Done, (await Run([.. arguments, "--no-eos"])).Code);
    }

    private static async Task<(int Code, string Output, string Error)> Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = await CommandRunner.RunAsync(arguments, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
