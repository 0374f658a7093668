using System.CommandLine;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>What to compute on, and how: the options of every command that computes, and the backend that they choose.</summary>
internal sealed class DeviceOptions
{
    private readonly Option<string> _device = new("--device")
    {
        Description = "What to compute on: cpu, cuda, or auto for CUDA where a usable device is there, else the CPU.",
        DefaultValueFactory = _ => "auto",
    };

    private readonly Option<int> _threads = new("--threads")
    {
        Description = "How many threads the CPU computes with; 0 for one a processor.",
        DefaultValueFactory = _ => 0,
        HelpName = "N",
    };

    private readonly Option<string?> _activations = new("--activations", "--dtype")
    {
        Description = "The type of activations on CUDA, and of the weights that meet them: bf16, fp16 or fp32. "
            + "Left out: bf16, or fp16 on a card older than Ampere. The CPU always takes fp32.",
    };

    private readonly Option<bool> _noCublasLt = new("--no-cublaslt")
    {
        Description = "Do linear layers on CUDA with this program's own kernels even where cuBLASLt is found.",
    };

    private readonly Option<bool> _batchInvariant = new("--batch-invariant")
    {
        Description =
            "Make each sequence's result on CUDA independent of what else is in the batch, bit for bit; costs speed. The CPU's always is.",
    };

    public DeviceOptions()
    {
        _device.AcceptOnlyFromAmong("auto", "cpu", "cuda");
        _activations.AcceptOnlyFromAmong("bf16", "fp16", "fp32");
    }

    /// <summary>The type that a word of --activations or --dtype names.</summary>
    public static DataType? TypeNamed(string? word) => word switch
    {
        "bf16" => DataType.BFloat16,
        "fp16" => DataType.Float16,
        "fp32" => DataType.Float32,
        _ => null,
    };

    public void AddTo(Command command)
    {
        foreach (Option option in new Option[] { _device, _threads, _activations, _noCublasLt, _batchInvariant })
        {
            command.Options.Add(option);
        }
    }

    /// <summary>Opens the backend. With --verbose, tells which and why.</summary>
    /// <exception cref="CudaUnavailableException">CUDA was asked for and cannot be used; the message says why and what to do.</exception>
    public Backend Open(ParseResult parsed, TextWriter error)
    {
        string device = parsed.GetValue(_device)!;
        int threads = parsed.GetValue(_threads);
        DataType? activations = TypeNamed(parsed.GetValue(_activations));
        if (threads < 0)
        {
            throw new UsageException($"--threads is {threads}, but must be 0 or more.");
        }

        if (device == "cpu" && activations is not (null or DataType.Float32))
        {
            throw new UsageException(
                $"--activations {parsed.GetValue(_activations)}: the CPU computes with fp32 activations; leave it out, or use "
                + "--device cuda.");
        }

        string? problem = device == "cpu" ? "--device cpu" : CudaBackend.WhyUnavailable();
        if (device == "cuda" && problem is not null)
        {
            throw new CudaUnavailableException($"--device cuda: {problem} (mamba-cuda info lists where libraries were looked for.)");
        }

        Backend backend = problem is not null ? new CpuBackend(threads) : new CudaBackend(new CudaBackendOptions
        {
            ActivationType = activations,
            UseCublasLt = !parsed.GetValue(_noCublasLt),
            BatchInvariant = parsed.GetValue(_batchInvariant),
        });
        if (parsed.GetValue(CommonOptions.Verbose))
        {
            error.WriteLine(
                $"device: {backend.Name}, {backend.Description}{(problem is null || device == "cpu" ? "" : $". Not CUDA: {problem}")}");
            if (backend is CudaBackend)
            {
                error.WriteLine($"cubins: {KernelsCommand.Describe(RuntimeCompiler.Load().Version)}");
            }
        }

        return backend;
    }
}
