using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda.Benchmarks;

/// <summary>
/// Decode at batch 1 and prefill of 512 tokens of a random 130m-shaped model with bf16 weights, and what memory would allow.
/// </summary>
internal static class CpuModelBenchmark
{
    private const int Runs = 9;
    private const int StepsARun = 40;
    private const int PromptTokens = 512;

    /// <summary>Prints the table.</summary>
    public static void Run(int threads)
    {
        MambaConfig config = new() { VocabularySize = 50_280, HiddenSize = 768, LayerCount = 24 };
        using RandomWeights weights = new(config, DataType.BFloat16, seed: 1);
        using CpuBackend backend = new(threads);
        using MambaModel model = MambaModel.Create(config, weights.Tensors, backend);
        using MambaState state = model.CreateState();
        float[] logits = new float[config.VocabularySize];
        int[] prompt = [.. Enumerable.Range(0, PromptTokens)];
        SequenceLayout one = SequenceLayout.Uniform(1, 1), whole = SequenceLayout.Uniform(1, PromptTokens);

        double[] decode = new double[Runs], prefill = new double[Runs];
        long allocated = 0;
        double read = ReadBandwidth.Measure(threads, Runs);
        for (int run = -2; run < Runs; run++)
        {
            long bytes = GC.GetAllocatedBytesForCurrentThread();
            double decoded = Seconds(() => Decode(model, state, one, logits)) / StepsARun;
            allocated = GC.GetAllocatedBytesForCurrentThread() - bytes;
            double passed = Seconds(() => model.Forward(prompt, whole, state, logits));
            if (run >= 0)
            {
                (decode[run], prefill[run]) = (decoded, passed);
            }
        }

        Array.Sort(decode);
        Array.Sort(prefill);
        double rate = model.WeightBytes / decode[Runs / 2];
        Print($"machine: {backend.Description}; {Environment.ProcessorCount} processors, {RuntimeInformation.FrameworkDescription}");
        Print(
            $"model: 130m shape ({model.ParameterCount:N0} parameters), random, projections bf16, {model.WeightBytes:N0} bytes of weights");
        Print($"");
        Print($"| what | median | min | max | runs | rate |");
        Print($"|---|---|---|---|---|---|");
        string step = Milliseconds(decode, "f2"), pass = Milliseconds(prefill, "f1");
        Print($"| decode, batch 1, ms a token | {step} | {Runs} x {StepsARun} | {1 / decode[Runs / 2]:f1} tok/s |");
        Print($"| prefill of {PromptTokens}, ms | {pass} | {Runs} | {PromptTokens / prefill[Runs / 2]:f0} tok/s |");
        Print($"");
        Print($"read bandwidth, same threads, same run: {read / 1e9:f1} GB/s");
        Print($"decode reads weights at {rate / 1e9:f1} GB/s = {rate / read:p0} of it");
        Print($"prefill is {PromptTokens / prefill[Runs / 2] * decode[Runs / 2]:f1} times the decode rate");
        Print($"{allocated} bytes allocated in {StepsARun} decode steps");
    }

    private static void Decode(MambaModel model, MambaState state, SequenceLayout one, float[] logits)
    {
        for (int i = 0; i < StepsARun; i++)
        {
            model.Forward([i], one, state, logits);
        }
    }

    /// <summary>Median, least and greatest of sorted seconds.</summary>
    private static string Milliseconds(double[] seconds, string format)
    {
        double[] told = [seconds[Runs / 2], seconds[0], seconds[^1]];
        return string.Join(" | ", told.Select(value => (1e3 * value).ToString(format, CultureInfo.InvariantCulture)));
    }

    private static double Seconds(Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static void Print(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
