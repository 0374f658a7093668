using MambaCuda.Driver;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda kernels: what it makes, and what it refuses.</summary>
public sealed class KernelsCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;

    [Fact]
    public async Task Kernels_are_made_once_for_the_architectures_that_the_compiler_knows()
    {
        Assert.SkipUnless(RuntimeCompiler.Search.IsFound, "There is no NVRTC here.");
        string[] words = ["build", "--arch", "90", "10", "--filter", "log_probabilities TRUE", "--output", _folder];
        (int code, string output, string error) = await Run(words);
        Assert.Equal(ExitCode.Done, code);
        Assert.StartsWith("sm_90 log_probabilities.cu: 1 compiled, 0 there already, ", output, StringComparison.Ordinal);
        Assert.StartsWith("sm_10: not made; NVRTC ", error, StringComparison.Ordinal);
        string file = Assert.Single(Directory.GetFiles(Path.Combine(_folder, "sm_90")));
        DateTime written = File.GetLastWriteTimeUtc(file);
        (_, output, _) = await Run(words);
        Assert.StartsWith("sm_90 log_probabilities.cu: 0 compiled, 1 there already, ", output, StringComparison.Ordinal);
        Assert.Equal(written, File.GetLastWriteTimeUtc(file));
    }

    [Theory]
    [InlineData(ExitCode.Usage, "'frobnicate'", "--arch 90 --filter frobnicate"), InlineData(ExitCode.Usage, "ninety", "--arch ninety")]
    [InlineData(ExitCode.Failed, "sm_35: not made", "--arch 35")]
    public async Task A_mistake_is_one_line(int expected, string named, string arguments)
    {
        Assert.SkipUnless(RuntimeCompiler.Search.IsFound, "There is no NVRTC here.");
        (int code, string output, string error) = await Run(["build", "--output", _folder, .. arguments.Split(' ')]);
        Assert.Equal((expected, ""), (code, output));
        Assert.Contains(named, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static async Task<(int Code, string Output, string Error)> Run(string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = await CommandRunner.RunAsync(["kernels", .. arguments], output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
