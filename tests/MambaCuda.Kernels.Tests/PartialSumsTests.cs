namespace MambaCuda.Kernels.Tests;

/// <summary>The sum of what the blocks of a kernel left, on a card.</summary>
public class PartialSumsTests
{
    private static readonly DataType[] Types = [DataType.Float32, DataType.BFloat16, DataType.Float16];
    private static readonly (int Rows, int Columns)[] Shapes = [(1, 1), (1, 300), (5, 130), (700, 3), (33, 16)];

    public static TheoryData<int, string> Cases =>
        new(from parts in new[] { 0, 1, 2, 8, 9, 40, 300 } from type in Types select (parts, type.ToString()));

    [Theory, MemberData(nameof(Cases))]
    public void Is_the_sum_in_an_order_that_repeats(int parts, string typeName)
    {
        DataType type = Enum.Parse<DataType>(typeName);
        using CudaBackend backend = (CudaBackend)TestBackends.Open("cuda-float32");
        foreach ((int rows, int columns) in Shapes)
        {
            RandomValues random = new($"{parts} {rows} {columns}");
            float[] partials = random.Normal(Math.Max(parts, 1) * rows * columns)[..(parts * rows * columns)];
            float[] before = StoredValues.Round(random.Normal(rows * columns), type);
            foreach (bool add in new[] { false, true })
            {
                float[] actual = Run(backend, partials, parts, rows, columns, type, before, add, GuardedMatrix.UsualGap);
                float[] again = Run(backend, partials, parts, rows, columns, type, before, add, gap: 0);
                Bits.AssertSame(actual, again, "without gaps");
                for (int i = 0; i < actual.Length; i++)
                {
                    double[] terms = [.. Enumerable.Range(0, parts).Select(part => (double)partials[(part * rows * columns) + i])];
                    double exact = terms.Sum() + (add ? before[i] : 0);
                    double size = terms.Sum(Math.Abs) + Math.Abs(before[i]);
                    double rounding = StoredValues.UnitRoundoff(type) * Math.Abs(exact);
                    double bound = (16 * StoredValues.UnitRoundoff(DataType.Float32) * size) + rounding;
                    Assert.True(Math.Abs(actual[i] - exact) <= bound, $"{rows} x {columns}, {i}: {actual[i]}, but {exact} is right.");
                }
            }
        }
    }

    private static float[] Run(
        CudaBackend backend, float[] partials, int parts, int rows, int columns, DataType type, float[] before, bool add, int gap)
    {
        using GuardedMatrix input = GuardedMatrix.Input(backend, DataType.Float32, parts * rows, columns, partials, gap);
        using GuardedMatrix destination = GuardedMatrix.Output(backend, type, rows, columns, before, gap);
        long stride = input.View.RowStride;
        nint address = ((CudaBuffer)input.View.Buffer!).Memory.Address + (nint)input.View.ByteOffset;
        backend.SumPartials(rows * stride, stride, parts, add, (address, destination.View));
        input.AssertUnchanged("partial sums");
        destination.AssertGuardsIntact("sum");
        return destination.Values();
    }
}
