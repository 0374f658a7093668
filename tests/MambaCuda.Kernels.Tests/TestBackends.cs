namespace MambaCuda.Kernels.Tests;

/// <summary>The backends that run every table of cases.</summary>
internal static class TestBackends
{
    /// <summary>Their names.</summary>
    public static IEnumerable<string> Names => ["cpu"];

    /// <summary>Opens one.</summary>
    public static Backend Open(string name) => name switch
    {
        "cpu" => new CpuBackend(threads: 2),
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, "Not a backend under test."),
    };

    /// <summary>Every backend with every case.</summary>
    public static TheoryData<string, string> With(IEnumerable<string> cases)
    {
        TheoryData<string, string> data = [];
        foreach (string name in Names)
        {
            foreach (string row in cases)
            {
                data.Add(name, row);
            }
        }

        return data;
    }
}
