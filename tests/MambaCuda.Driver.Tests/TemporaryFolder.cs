namespace MambaCuda.Driver.Tests;

/// <summary>A folder of a test's own; gone when disposed of.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("mamba-cuda-tests-").FullName;

    /// <summary>Writes a file below, with the folders that it needs, and returns its path.</summary>
    public string Write(string name, string text = "")
    {
        string path = System.IO.Path.Combine(Path, name);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
