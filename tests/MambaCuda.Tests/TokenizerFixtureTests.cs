using System.Diagnostics;
using System.Text.Json;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Every golden tokenizer: ids and text as the Hugging Face library gives them, with ICU and without.</summary>
public sealed class TokenizerFixtureTests
{
    /// <summary>Set for the child process that must be without ICU, so that it notices if it is not.</summary>
    private const string MustBeInvariant = "MAMBACUDA_TESTS_MUST_BE_INVARIANT";

    public static TheoryData<string> Tokenizers => [.. Fixtures.Tokenizers()];

    [Theory]
    [MemberData(nameof(Tokenizers))]
    public void Ids_and_text_are_those_of_the_golden_file(string name)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        if (Environment.GetEnvironmentVariable(MustBeInvariant) is not null)
        {
            Assert.Equal("e\u0301", "e\u0301".Normalize());
        }

        Tokenizer tokenizer = Tokenizer.Load(Fixtures.PathOf(name));
        using JsonDocument encodings = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixtures.PathOf(name), "encodings.json")));
        Assert.NotEqual(0, encodings.RootElement.GetArrayLength());
        foreach (JsonElement entry in encodings.RootElement.EnumerateArray())
        {
            string text = entry.GetProperty("text").GetString()!;
            int[] expected = [.. entry.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
            Assert.Equal(expected, tokenizer.Encode(text));
            string decoded = entry.GetProperty("decoded").GetString()!;
            Assert.Equal(decoded, tokenizer.Decode(expected));

            StreamingDecoder streaming = new(tokenizer);
            Assert.Equal(decoded, string.Concat(expected.Select(streaming.Append)) + streaming.Flush());
        }
    }

    [Fact]
    public async Task Ids_are_the_same_under_invariant_globalization()
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in new[] { "exec", typeof(TokenizerFixtureTests)
            .Assembly.Location, "-method", $"*.{nameof(Ids_and_text_are_those_of_the_golden_file)}" })
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1";
        start.Environment[MustBeInvariant] = "1";
        using Process child = Process.Start(start)!;
        Task<string> errors = child.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = await child.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken) + await errors;
        await child.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(child.ExitCode == 0, output);
        Assert.Matches(@"Total: [1-9]", output);
    }
}
