namespace MambaCuda.Driver.Tests;

/// <summary>The driver of StubDriver/libcuda.c and the cuBLASLt beside it, built where there is a C compiler.</summary>
internal static class StubDriver
{
    private static readonly Lock Gate = new();
    private static bool _isBuilt;

    /// <summary>The folder of its source, where the library goes too.</summary>
    public static string Folder { get; } = Path.Combine(AppContext.BaseDirectory, "StubDriver");

    /// <summary>The driver's source.</summary>
    public static string Source { get; } = Path.Combine(Folder, "libcuda.c");

    /// <summary>Runs a method in a process whose CUDA driver is the stub; the test is skipped where that cannot be built.</summary>
    public static Task<string> Run(Action method, params (string Name, string Value)[] variables)
    {
        Build();
        Dictionary<string, string?> all = variables.ToDictionary(variable => variable.Name, variable => (string?)variable.Value);
        all[LibraryFinder.PathVariable] = Folder;
        all["CUDA_VISIBLE_DEVICES"] = null;
        return ChildProcess.Run(method, all);
    }

    private static void Build()
    {
        lock (Gate)
        {
            if (!_isBuilt)
            {
                string multiplier = Path.Combine(Folder, "libcublasLt.c");
                Assert.Equal("", CCompiler.Run("-shared", "-fPIC", "-o", Path.Combine(Folder, "libcuda.so.1"), Source));
                Assert.Equal("", CCompiler.Run("-shared", "-fPIC", "-o", Path.Combine(Folder, "libcublasLt.so.13"), multiplier));
                _isBuilt = true;
            }
        }
    }
}
