using BenchmarkDotNet.Running;
using MambaCuda.Benchmarks;

// cpu [threads]: the whole-model figures of the CPU backend, as a table.
// curve METRICS PICTURE [TITLE]: a run's losses, drawn from its metrics.jsonl as .svg or .png.
// Anything else goes to BenchmarkDotNet: --filter '*Linear*', --list flat, ...
if (args is ["cpu", ..])
{
    CpuModelBenchmark.Run(
        args.Length > 1 ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture) : Environment.ProcessorCount);
}
else if (args is ["curve", { } metrics, { } picture, ..])
{
    LossCurve.Draw(metrics, picture, args.ElementAtOrDefault(3));
}
else
{
    BenchmarkSwitcher.FromAssembly(typeof(CpuModelBenchmark).Assembly).Run(args);
}
