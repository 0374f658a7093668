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

    private static async Task<(int Code, string Output, string Error)> Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = await CommandRunner.RunAsync(arguments, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
