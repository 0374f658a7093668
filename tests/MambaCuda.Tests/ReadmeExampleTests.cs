using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>The example of the README: it compiles, it runs, and it is what the README shows.</summary>
public sealed class ReadmeExampleTests
{
    private const string Begin = "        // <example>";
    private const string End = "        // </example>";

    [Fact]
    public async Task It_runs_and_is_what_the_README_shows()
    {
        string folder = Path.Combine(Fixtures.RepositoryRoot, "src", "MambaCuda.Cli", "DefaultModel");

        // <example>
        using CpuBackend backend = new();
        using MambaModel model = MambaModel.Load(folder, backend);
        TextGenerator generator = new(model, Tokenizer.Load(folder));
        using MambaState state = model.CreateState();
        SamplingOptions sampling = new() { Temperature = 0.7f, Seed = 1 };
        GenerationRequest request = new() { Prompt = "Gets or sets the", MaxTokens = 40, State = state, Sampling = sampling };
        await foreach (GeneratedToken token in generator.GenerateAsync(request))
        {
            Console.Write(token.Text);
        }

        byte[] snapshot = state.Snapshot();
        // </example>

        Assert.Equal("Gets or sets the".Length + 39, state.TokenCount());
        Assert.NotEmpty(snapshot);
        string[] here = await File.ReadAllLinesAsync(
            Path.Combine(Fixtures.RepositoryRoot, "tests", "MambaCuda.Tests", "ReadmeExampleTests.cs"),
            TestContext.Current.CancellationToken);
        string readme =
            await File.ReadAllTextAsync(Path.Combine(Fixtures.RepositoryRoot, "README.md"), TestContext.Current.CancellationToken);
        int from = Array.IndexOf(here, Begin) + 1, to = Array.IndexOf(here, End);
        string example = string.Join('\n', here[from..to].Select(line => line.Length > 8 ? line[8..] : ""));
        Assert.Contains(example, readme.ReplaceLineEndings("\n"), StringComparison.Ordinal);
    }
}
