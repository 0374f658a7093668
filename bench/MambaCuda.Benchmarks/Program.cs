using BenchmarkDotNet.Running;
using MambaCuda.Benchmarks;

// cpu [threads]: the whole-model figures of the CPU backend, as a table.
// curve METRICS PICTURE [TITLE]: a run's losses, drawn from its metrics.jsonl as .svg or .png.
// plots [FOLDER]: the charts of mamba-cuda bench --report as .png, in FOLDER/plots; bench/results where no folder is named.
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
else if (args is ["plots", ..])
{
    Console.WriteLine(string.Join('\n', ReportPlots.Draw(args.ElementAtOrDefault(1) ?? "bench/results")));
}
else
{
    BenchmarkSwitcher.FromAssembly(typeof(CpuModelBenchmark).Assembly).Run(args);
}
