namespace MambaCuda.Driver.Tests;

/// <summary>Ranges for profilers: told where the library is, and nothing where it is not.</summary>
public class ToolRangesTests
{
    private static void Nest()
    {
        Console.WriteLine(ToolRanges.AreAvailable);
        ToolRanges.Push("step");
        ToolRanges.Push("Größe");
        ToolRanges.Pop();
        ToolRanges.Push(new string('x', 300));
        ToolRanges.Pop();
        ToolRanges.Pop();
        ToolRanges.Push("next");
        ToolRanges.Pop();
    }

    [Fact]
    public async Task Ranges_lie_in_one_another()
    {
        string folder = Path.Combine(StubDriver.Folder, "nvtx");
        Directory.CreateDirectory(folder);
        string source = Path.Combine(StubDriver.Folder, "libnvtx.c");
        Assert.Equal("", CCompiler.Run("-shared", "-fPIC", "-o", Path.Combine(folder, "libnvToolsExt.so.1"), source));
        string output = await ChildProcess.Run(Nest, new Dictionary<string, string?> { [LibraryFinder.PathVariable] = folder });
        Assert.Equal(["True", "step", " Größe", $" {new string('x', 255)}", "next"], output.TrimEnd().Split('\n'));
    }

    [Fact]
    public async Task Without_the_library_nothing_happens()
    {
        string output = await ChildProcess.Run(Nest, new Dictionary<string, string?>());
        Assert.SkipWhen(output.StartsWith("True", StringComparison.Ordinal), "This machine has an NVTX.");
        Assert.Equal("False", output.Trim());
    }
}
