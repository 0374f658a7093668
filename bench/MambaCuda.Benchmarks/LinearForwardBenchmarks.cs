using System.Globalization;
using BenchmarkDotNet.Attributes;
using MambaCuda.Kernels;

namespace MambaCuda.Benchmarks;

/// <summary>The linear layers of the 130m shape on the CPU, plain and quantized: one token, and 512.</summary>
public class LinearForwardBenchmarks
{
    private readonly CpuBackend _backend = new();
    private DeviceBuffer? _x;
    private DeviceBuffer? _weight;
    private DeviceBuffer? _scales;
    private DeviceBuffer? _y;
    private WeightView _view;

    /// <summary>Rows of x.</summary>
    [Params(1, 512)]
    public int Rows { get; set; }

    /// <summary>Outputs by inputs.</summary>
    [Params("3072x768", "768x1536", "80x1536", "50280x768")]
    public string Weight { get; set; } = "";

    /// <summary>How the weight is stored.</summary>
    [Params("bf16", "int8", "int4")]
    public string Type { get; set; } = "";

    private (int Outputs, int Inputs) Shape => Weight.Split('x') is [string outputs, string inputs]
        ? (int.Parse(outputs, CultureInfo.InvariantCulture), int.Parse(inputs, CultureInfo.InvariantCulture))
        : throw new InvalidOperationException(Weight);

    [GlobalSetup]
    public void Allocate()
    {
        (int outputs, int inputs) = Shape;
        _x = _backend.Allocate(4L * Rows * inputs);
        _y = _backend.Allocate(4L * Rows * outputs);
        Random random = new(1);
        float[] x = [.. Enumerable.Range(0, Rows * inputs).Select(_ => random.NextSingle() - 0.5f)];
        _backend.Upload<float>(x, _x.Matrix(DataType.Float32, Rows, inputs));
        if (Type == "bf16")
        {
            _view = BFloat16(outputs, inputs, random, out _weight);
            return;
        }

        QuantizedType type = Type == "int8" ? QuantizedType.Int8 : QuantizedType.Int4;
        QuantizedLayout layout = new(type, inputs, type == QuantizedType.Int8 ? 128 : 32);
        byte[] numbers = new byte[outputs * layout.RowBytes];
        random.NextBytes(numbers);
        _weight = _backend.Allocate(numbers.Length);
        MatrixView values = _weight.Matrix(layout.StoredType, outputs, layout.RowBytes);
        _backend.Upload<byte>(numbers, values);
        _view = new QuantizedView(values, BFloat16(outputs, layout.Groups, random, out _scales), layout);
    }

    [Benchmark]
    public void LinearForward()
    {
        (int outputs, int inputs) = Shape;
        _backend.LinearForward(new LinearForwardArgs
        {
            X = _x!.Matrix(DataType.Float32, Rows, inputs),
            Weight = _view,
            Y = _y!.Matrix(DataType.Float32, Rows, outputs),
        });
    }

    [GlobalCleanup]
    public void Free()
    {
        _x?.Dispose();
        _weight?.Dispose();
        _scales?.Dispose();
        _y?.Dispose();
        _backend.Dispose();
    }

    private MatrixView BFloat16(int rows, int columns, Random random, out DeviceBuffer buffer)
    {
        ushort[] values = [.. Enumerable.Range(0, rows * columns)
            .Select(_ => (ushort)(BitConverter.SingleToUInt32Bits(random.NextSingle() - 0.5f) >> 16))];
        buffer = _backend.Allocate(2L * rows * columns);
        MatrixView view = buffer.Matrix(DataType.BFloat16, rows, columns);
        _backend.Upload<ushort>(values, view);
        return view;
    }
}
