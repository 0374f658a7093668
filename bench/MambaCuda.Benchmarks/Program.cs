using BenchmarkDotNet.Running;
using MambaCuda.Benchmarks;

// cpu [threads]: the whole-model figures of the CPU backend, as a table.
// Anything else goes to BenchmarkDotNet: --filter '*Linear*', --list flat, ...
if (args is ["cpu", ..])
{
    CpuModelBenchmark.Run(
        args.Length > 1 ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture) : Environment.ProcessorCount);
}
else
{
    BenchmarkSwitcher.FromAssembly(typeof(CpuModelBenchmark).Assembly).Run(args);
}
