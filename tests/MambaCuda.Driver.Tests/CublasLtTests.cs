namespace MambaCuda.Driver.Tests;

/// <summary>cuBLASLt as it is called, over a stub that tells what it was given.</summary>
public class CublasLtTests
{
    private static readonly RowProduct Product = new(Rows: 48, Inputs: 2560, Outputs: 80)
    {
        Operands = MatrixElement.BFloat16,
        Result = MatrixElement.Float32,
        XStride = 2600,
        WeightStride = 2561,
        YStride = 100,
        Alignment = 8,
    };

    private static void Multiply()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        CublasLt library = CublasLt.Open(context);
        Console.WriteLine($"version {CublasLt.Version}");
        CublasLtProduct product = library.Choose(Product, 1 << 20)!;
        Console.WriteLine($"needs {product.WorkspaceBytes}");
        CudaStream stream = CudaStream.Adopt(context, 0x77);
        product.Run(stream, 0x100, 0x200, 0x300, 0x400);
        CublasException exception = Assert.Throws<CublasException>(() => product.Run(stream, 0x100, 0xbad, 0x300, 0x400));
        Console.WriteLine($"{exception.Message} {exception.Status}");
        foreach (IDisposable one in (IDisposable[])[product, product, library, library])
        {
            one.Dispose();
        }

        Assert.Throws<ObjectDisposedException>(() => product.Run(stream, 0x100, 0x200, 0x300, 0x400));
        Assert.Throws<ObjectDisposedException>(() => library.Handle);
    }

    private static void MultiplyTransposed()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        using CublasLt library = CublasLt.Open(context);
        RowProduct gradient = Product with { XIsTransposed = true, WeightIsTransposed = true, Accumulate = true };
        using CublasLtProduct product = library.Choose(gradient, 1 << 20)!;
        product.Run(CudaStream.Adopt(context, 0x77), 0x100, 0x200, 0x300, 0x400);
    }

    private static void ChooseInVain()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        using CublasLt library = CublasLt.Open(context);
        Console.WriteLine($"choice is {(library.Choose(Product, 0) is null ? "none" : "some")}");
    }

    private static void ChooseWrongly()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        using CublasLt library = CublasLt.Open(context);
        Console.WriteLine(Assert.Throws<CublasException>(() => library.Choose(Product, 0)).Message);
    }

    private static void Open()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        Console.WriteLine(Assert.Throws<CublasException>(() => CublasLt.Open(context)).Message);
    }

    [Fact]
    public async Task A_product_of_rows_is_one_of_columns_turned_round()
    {
        string output = await StubDriver.Run(Multiply);
        string[] expected =
        [
            "make library 1", "version 130100", "make product 2 compute 68 scale 0", "product 3 is 1 of 4 bytes",
            "make matrix 3 type 14 2560 x 48 leading 2600", "make matrix 4 type 14 2560 x 80 leading 2561",
            "make matrix 5 type 0 80 x 48 leading 100", "make preference 6",
            "preference 1 is 1048576 of 8 bytes", "preference 3 is 2 of 4 bytes", "preference 5 is 8 of 4 bytes",
            "preference 6 is 8 of 4 bytes", "preference 7 is 8 of 4 bytes", "preference 8 is 8 of 4 bytes",
            "choose 1 2 a 4 b 3 c 5 d 5 preference 6 wanted 1", "cublasLtMatmulPreferenceDestroy 6", "needs 4096",
            "run 1 2 alpha 1 a 0x200/4 b 0x100/3 beta 0 c 0x300/5 d 0x300/5 algorithm 100..107 workspace 0x400 of 4096 stream 0x77",
            "run 1 2 alpha 1 a 0xbad/4 b 0x100/3 beta 0 c 0x300/5 d 0x300/5 algorithm 100..107 workspace 0x400 of 4096 stream 0x77",
            "CUBLAS_STATUS_EXECUTION_FAILED while launching a product of 48 x 2560 x 80 BFloat16 to Float32. 13",
            "cublasLtMatrixLayoutDestroy 5", "cublasLtMatrixLayoutDestroy 4", "cublasLtMatrixLayoutDestroy 3",
            "cublasLtMatmulDescDestroy 2", "cublasLtDestroy 1",
        ];
        Assert.Equal(expected, Calls(output));
    }

    [Fact]
    public async Task What_is_stored_transposed_is_described_so_and_added()
    {
        string[] calls = Calls(await StubDriver.Run(MultiplyTransposed));
        Assert.Contains("product 4 is 1 of 4 bytes", calls);
        Assert.DoesNotContain(calls, call => call.StartsWith("product 3 ", StringComparison.Ordinal));
        Assert.Contains("make matrix 3 type 14 48 x 2560 leading 2600", calls);
        Assert.Contains("make matrix 4 type 14 80 x 2560 leading 2561", calls);
        Assert.Contains(calls, call => call.StartsWith("run ", StringComparison.Ordinal) && call.Contains(" beta 1 ", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("-1"), InlineData("15")]
    public async Task Where_there_is_no_way_none_is_given_and_nothing_stays(string answer)
    {
        string[] calls = Calls(await StubDriver.Run(ChooseInVain, ("STUB_CUBLAS_CHOICE", answer)));
        Assert.Contains("choice is none", calls);
        Assert.Equal(calls.Count(call => call.StartsWith("make ", StringComparison.Ordinal)), calls.Count(call => call.Contains("Destroy")));
    }

    [Fact]
    public async Task Errors_say_what_was_done()
    {
        string[] calls = Calls(await StubDriver.Run(ChooseWrongly, ("STUB_CUBLAS_CHOICE", "7")));
        Assert.Contains(
            "CUBLAS_STATUS_INVALID_VALUE while choosing how to compute a product of 48 x 2560 x 80 BFloat16 to Float32.", calls);
        Assert.Equal(calls.Count(call => call.StartsWith("make ", StringComparison.Ordinal)), calls.Count(call => call.Contains("Destroy")));
        Assert.Contains(
            "CUBLAS_STATUS_ARCH_MISMATCH while preparing cuBLASLt for device 0 (Stub).",
            Calls(await StubDriver.Run(Open, ("STUB_CUBLAS", "8"))));
    }

    // The driver's stub speaks too, of contexts.
    private static string[] Calls(string output) =>
        [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Where(line => !line.StartsWith("cu", StringComparison.Ordinal) || line.StartsWith("cublas", StringComparison.Ordinal))];
}
