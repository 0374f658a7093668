using System.Runtime.CompilerServices;
using MambaCuda.Driver;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>
/// The backends that run every table of cases: the CPU, and CUDA with each type of activations. CUDA is the first GPU, or the host device
/// (native/host) where there is none; where neither can be, its rows are skipped.
/// </summary>
internal static class TestBackends
{
    private static readonly string[] CudaNames = ["cuda-float32", "cuda-bfloat16", "cuda-float16"];
    private static readonly Lazy<CudaContext> Context = new(() => CudaDevice.Get(0).RetainPrimaryContext());

    /// <summary>Their names.</summary>
    public static IReadOnlyList<string> Names { get; } = ["cpu", .. CudaNames];

    /// <summary>The names as the rows of a theory.</summary>
    public static TheoryData<string> Rows => [.. Names];

    /// <summary>Opens one; skips the test where it cannot be here.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="batchInvariant">Whether a result is to be the same whatever stands beside it; on the CPU it always is.</param>
    public static Backend Open(string name, bool batchInvariant = false)
    {
        if (name == "cpu")
        {
            return new CpuBackend(threads: 2);
        }

        Assert.SkipWhen(!HostDevice.IsInUse && CudaDevice.Count == 0, HostDevice.Problem ?? "There is no CUDA device.");

        // A context is slow to make; this one lasts from the first backend on.
        _ = Context.Value;
        return new CudaBackend(new CudaBackendOptions { ActivationType = TypeOf(name), BatchInvariant = batchInvariant });
    }

    /// <summary>Fails unless an operation says that a number is out of range: a card tells when it is next waited for.</summary>
    /// <param name="backend">What runs it.</param>
    /// <param name="operation">The operation.</param>
    /// <param name="number">The number.</param>
    /// <param name="message">A pattern of what is said.</param>
    public static void AssertOutOfRange(Backend backend, Action operation, int number, string message)
    {
        ArgumentOutOfRangeException exception = Assert.Throws<ArgumentOutOfRangeException>(() =>
        {
            operation();
            backend.Synchronize();
        });
        Assert.Equal(number, exception.ActualValue);
        Assert.Matches(message, exception.Message);
    }

    /// <summary>The names of the backends that have an operation.</summary>
    public static IReadOnlyList<string> NamesWith(string operation) =>
        KernelSources.Kernels.Contains(SnakeCase.Of(operation) + ".cu") ? Names : ["cpu"];

    /// <summary>Every backend with every case, for tables that are quick.</summary>
    public static TheoryData<string, string> WithEvery(IEnumerable<string> cases)
    {
        TheoryData<string, string> data = [];
        string[] rows = [.. cases];
        foreach (string name in Names)
        {
            data.AddRange([.. rows.Select(row => new TheoryDataRow<string, string>(name, row))]);
        }

        return data;
    }

    /// <summary>
    /// Every backend with every case. On the host device each case runs on one type of activations, the types taking turns: they share all
    /// code but loading and storing, and between them the whole table is run.
    /// </summary>
    public static TheoryData<string, string> With(string operation, IEnumerable<string> cases)
    {
        TheoryData<string, string> data = [];
        string[] rows = [.. cases];
        foreach (string name in NamesWith(operation))
        {
            for (int i = 0; i < rows.Length; i++)
            {
                if (Runs(name, i))
                {
                    data.Add(name, rows[i]);
                }
            }
        }

        return data;
    }

    /// <summary>Whether a backend runs the case of a number; see <see cref="With"/>.</summary>
    public static bool Runs(string name, int number) => name == "cpu" || !HostDevice.IsInUse || CudaNames[number % CudaNames.Length] == name;

    [ModuleInitializer]
    internal static void ChooseDevice() => HostDevice.UseWhereThereIsNoGpu();

    private static DataType TypeOf(string name) => name switch
    {
        "cuda-float32" => DataType.Float32,
        "cuda-bfloat16" => DataType.BFloat16,
        "cuda-float16" => DataType.Float16,
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, "Not a backend under test."),
    };
}
