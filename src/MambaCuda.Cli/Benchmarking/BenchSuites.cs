namespace MambaCuda.Cli;

/// <summary>Rows that are measured together and make one table of bench/results.</summary>
internal static class BenchSuites
{
    /// <summary>The suite that measures the CPU, wherever it is run.</summary>
    public const string Cpu = "cpu";

    // Launches in a row of operations that take no longer than a few launches.
    private const int Chain = 16;

    /// <summary>The suites by name.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<BenchRow>> All { get; } = new Dictionary<string, IReadOnlyList<BenchRow>>
    {
        ["scan"] =
        [
            Row("scan", 8, 2048, 2048),
            Row("scan", 16, 5120, 2048),
            Row("scan", 1, 1536, 2048),
            Row("scan", 1, 1536, 2048) with { Launches = Chain },
            Row("scan", 1, 2048, 16_384),
            Row("scan", 1, 2048, 16_384) with { Launches = Chain },
            Row("scan", 1, 2048, 131_072),
            Row("scan", 1, 1536, 1_048_576),
            Row("scan", 1, 5120, 2048),
            Row("scan", 8, 1536, 2048),
            Row("scan", 8, 2048, 16_384),

            // The paper's figure 8: one sequence of 1,024 channels, whose attention has 16 heads of 64.
            .. Figure8("scan", 512, 1024, 2048, 4096, 8192, 32_768, 131_072, 524_288),
            .. Figure8("conv1d", 512, 1024, 2048, 4096, 8192, 32_768, 131_072, 524_288),
        ],
        ["ops"] =
        [
            Row("conv1d", 8, 2048, 2048),
            Row("conv1d", 8, 2048, 2048) with { Launches = Chain },
            Row("conv1d", 1, 2048, 16_384),
            Row("conv1d", 1, 2048, 16_384) with { Launches = Chain },
            Row("conv1d", 16, 5120, 2048),
            Row("add-rms-norm", 16_384, 2560),
            Row("linear", 1, 2560, 10_240),
            Row("linear", 1, 2560, 10_240) with { Launches = Chain },
            Row("linear", 1, 2560, 50_280),
            Row("linear", 1, 10_240, 2560),
            Row("linear", 1, 10_240, 2560) with { Launches = Chain },
            Row("linear", 1, 2560, 10_240) with { Variant = "int8", Launches = Chain },
            Row("linear", 1, 2560, 10_240) with { Variant = "int4", Launches = Chain },
            Row("linear", 1, 5120, 2560) with { Variant = "int8", Launches = Chain },
            Row("linear", 1, 5120, 2560) with { Variant = "int4", Launches = Chain },
            Row("linear", 8, 2560, 10_240) with { Variant = "int4", Launches = Chain },
            Row("linear", 16_384, 2560, 10_240) with { Variant = "cublaslt" },
            Row("linear", 16_384, 2560, 10_240) with { Variant = "own" },
            Row("embedding", 16_384, 2560),
            Row("state-update", 1, 5120),
            Row("state-update", 64, 5120),
            Row("conv1d-update", 1, 5120),
            Row("conv1d-update", 64, 5120),
            Row("copy", 1024),
            Row("read", 1024),
        ],
        ["train"] =
        [
            Row("scan-backward", 8, 2048, 2048),
            Row("scan-backward", 16, 5120, 2048),
            Row("scan-backward", 1, 1536, 2048),
            Row("scan-backward", 1, 2048, 131_072),
            .. Figure8("scan-backward", 512, 2048, 8192, 32_768, 131_072),
            .. Figure8("conv1d-backward", 512, 2048, 8192, 32_768, 131_072),
            Row("conv1d-backward", 8, 2048, 2048),
            Row("add-rms-norm-backward", 16_384, 2560),
            Row("gradients", 8, 2048) with { Model = "130m" },
            Row("gradients", 8, 2048) with { Model = "130m", Variant = GradientsBenchmark.RecomputesScan },
            Row("gradients", 8, 2048) with { Model = "130m", Variant = GradientsBenchmark.Steps },
            Row("gradients", 8, 2048) with { Model = "1.4b" },
        ],
        ["lengths"] =
        [
            Row("gradients", 1, 1 << 14) with { Model = "130m", Variant = GradientsBenchmark.RecomputesBlocks },
            Row("gradients", 1, 1 << 16) with { Model = "130m", Variant = GradientsBenchmark.RecomputesBlocks },
            Row("gradients", 1, 1 << 18) with { Model = "130m", Variant = GradientsBenchmark.RecomputesBlocks },
            Row("gradients", 1, 1 << 20) with { Model = "130m", Variant = GradientsBenchmark.RecomputesBlocks },
        ],
        ["model"] =
        [
            Row("prefill", 8, 2048) with { Model = "130m" },
            Row("prefill", 1, 2048) with { Model = "130m" },
            Row("prefill", 1, 32_768) with { Model = "130m" },
            Row("prefill", 1, 1 << 20) with { Model = "130m" },
            Row("start", 128) with { Model = "130m", Variant = "cold" },
            Row("start", 128) with { Model = "130m", Variant = "warm" },
            Row("prefill", 8, 2048) with { Model = "1.4b" },
            Row("prefill", 1, 2048) with { Model = "1.4b" },
            Row("prefill", 8, 2048) with { Model = "2.8b" },
            Row("prefill", 1, 2048) with { Model = "2.8b" },
            Row("score", 8, 2048) with { Model = "130m" },
            Row("score", 8, 2048) with { Model = "1.4b" },
        ],
        ["decode"] =
        [
            Row("decode", 1) with { Model = "130m" },
            Row("decode", 1) with { Model = "130m", Variant = DecodeBenchmark.Draws },
            Row("decode", 8) with { Model = "130m" },
            Row("decode", 64) with { Model = "130m" },
            Row("decode", 1) with { Model = "1.4b" },
            Row("decode", 64) with { Model = "1.4b" },
            Row("decode", 128) with { Model = "1.4b" },
            Row("decode", 1) with { Model = "2.8b" },
            Row("decode", 1) with { Model = "2.8b", Variant = "int8" },
            Row("decode", 1) with { Model = "2.8b", Variant = "int4" },
            Row("decode", 8) with { Model = "2.8b" },
            Row("decode", 64) with { Model = "2.8b" },
        ],
        ["generate"] =
        [
            Row("decode-after", 1, 1000) with { Model = "130m" },
            Row("decode-after", 1, 1_000_000) with { Model = "130m" },
            Row("first-token", 2048) with { Model = "130m" },
            Row("first-token", 2048) with { Model = "2.8b" },
            Row("first-token", 2048) with { Model = "2.8b", Variant = FirstTokenBenchmark.Cached },
            Row("decode-after", 1, 1000) with { Model = "2.8b" },
            Row("decode-after", 1, 1_000_000) with { Model = "2.8b" },
            Row("speculate", 2) with { Model = "2.8b" },
            Row("speculate", 4) with { Model = "2.8b" },
            Row("speculate", 7) with { Model = "2.8b" },
        ],
        [Cpu] =
        [
            Row("copy", 256),
            Row("linear", 1, 768, 3072),
            Row("linear", 256, 768, 3072),
            Row("scan", 1, 1536, 512),
            Row("scan", 4, 1536, 512),
            Row("state-update", 1, 1536),
            Row("state-update", 8, 1536),
            Row("conv1d", 1, 1536, 16_384),
            Row("conv1d-update", 8, 1536),
            Row("add-rms-norm", 65_536, 768),
            Row("embedding", 65_536, 768),
            Row("scan-backward", 1, 1536, 512),
            Row("conv1d-backward", 1, 1536, 512),
            Row("add-rms-norm-backward", 65_536, 768),
            Row("decode", 1) with { Model = "130m" },
            Row("decode", 8) with { Model = "130m" },
            Row("prefill", 1, 128) with { Model = "130m" },
            Row("score", 1, 64) with { Model = "130m" },
            Row("gradients", 2, 128) with { Model = "tiny" },
        ],
        ["attention"] =
        [
            .. from length in Lengths select Row("attention", 1, 16, 64, length),
            Row("attention", 8, 32, 64, 2048),
            Row("attention", 8, 32, 64, 8192),
            Row("attention", 8, 16, 128, 2048),
            Row("attention", 8, 16, 128, 8192),
            Row("attention-backward", 8, 32, 64, 2048),
            Row("attention-backward", 8, 32, 64, 8192),
            Row("attention-backward", 8, 16, 128, 2048),
            Row("attention-backward", 8, 16, 128, 8192),
            Row("attention-decode", 1, 32, 64, 2048),
            Row("attention-decode", 1, 32, 64, 32_768),
            Row("attention-decode", 64, 32, 64, 2048),
            Row("attention-decode", 64, 16, 128, 2048),
            Row("attention-decode", 8, 16, 128, 32_768),
        ],
    };

    private static IEnumerable<BenchRow> Figure8(string operation, params long[] lengths) => lengths.Select(length => Row(operation, 1, 1024, length));

    // Of Mamba's figure 8: attention of 16 heads of 64 against a scan of as many channels.
    private static IEnumerable<long> Lengths => [512, 1024, 2048, 4096, 8192, 32_768, 131_072];

    private static BenchRow Row(string operation, params long[] shape) => new(operation, shape);
}
