using System.Globalization;
using BenchmarkDotNet.Attributes;
using MambaCuda.Kernels;

namespace MambaCuda.Benchmarks;

/// <summary>The linear layers of the 130m shape on the CPU: one token, and 512.</summary>
public class LinearForwardBenchmarks
{
    private readonly CpuBackend _backend = new();
    private DeviceBuffer? _x;
    private DeviceBuffer? _weight;
    private DeviceBuffer? _y;

    /// <summary>Rows of x.</summary>
    [Params(1, 512)]
    public int Rows { get; set; }

    /// <summary>Outputs by inputs.</summary>
    [Params("3072x768", "768x1536", "80x1536", "50280x768")]
    public string Weight { get; set; } = "";

    private (int Outputs, int Inputs) Shape => Weight.Split('x') is [string outputs, string inputs]
        ? (int.Parse(outputs, CultureInfo.InvariantCulture), int.Parse(inputs, CultureInfo.InvariantCulture))
        : throw new InvalidOperationException(Weight);

    [GlobalSetup]
    public void Allocate()
    {
        (int outputs, int inputs) = Shape;
        _x = _backend.Allocate(4L * Rows * inputs);
        _weight = _backend.Allocate(2L * outputs * inputs);
        _y = _backend.Allocate(4L * Rows * outputs);
        Random random = new(1);
        float[] x = [.. Enumerable.Range(0, Rows * inputs).Select(_ => random.NextSingle() - 0.5f)];
        ushort[] weight = [.. Enumerable.Range(0, outputs * inputs)
            .Select(_ => (ushort)(BitConverter.SingleToUInt32Bits(random.NextSingle() - 0.5f) >> 16))];
        _backend.Upload<float>(x, _x.Matrix(DataType.Float32, Rows, inputs));
        _backend.Upload<ushort>(weight, _weight.Matrix(DataType.BFloat16, outputs, inputs));
    }

    [Benchmark]
    public void LinearForward()
    {
        (int outputs, int inputs) = Shape;
        _backend.LinearForward(new LinearForwardArgs
        {
            X = _x!.Matrix(DataType.Float32, Rows, inputs),
            Weight = _weight!.Matrix(DataType.BFloat16, outputs, inputs),
            Y = _y!.Matrix(DataType.Float32, Rows, outputs),
        });
    }

    [GlobalCleanup]
    public void Free()
    {
        _x?.Dispose();
        _weight?.Dispose();
        _y?.Dispose();
        _backend.Dispose();
    }
}
