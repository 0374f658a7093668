namespace MambaCuda.Driver.Tests;

/// <summary>What is said where CUDA cannot be used.</summary>
public class DriverStartTests
{
    private static void Start()
    {
        Console.WriteLine($"available {CudaDriver.IsAvailable}, version {CudaDriver.Version}, devices {CudaDevice.Count}");
        try
        {
            Console.WriteLine(CudaDevice.Get(0));
        }
        catch (CudaUnavailableException exception)
        {
            Console.WriteLine($"{exception.GetType().Name}: {exception.Message}");
        }
    }

    [Fact]
    public async Task A_driver_that_is_there_is_used()
    {
        string output = await StubDriver.Run(Start);
        Assert.Contains("available True, version 13.0, devices 1", output, StringComparison.Ordinal);
        Assert.Contains("device 0 (Stub)", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_old_driver_is_refused_with_what_is_needed()
    {
        string output = await StubDriver.Run(Start, ("STUB_VERSION", "11080"));
        Assert.Contains("available False, version 11.8, devices 0", output, StringComparison.Ordinal);
        Assert.Contains("CudaUnavailableException: The NVIDIA driver (", output, StringComparison.Ordinal);
        Assert.Contains("supports CUDA 11.8, but 12.0 is needed", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("STUB_INIT", "100")]
    [InlineData("STUB_DEVICES", "0")]
    public async Task A_machine_without_a_GPU_is_told_so(string variable, string value)
    {
        string output = await StubDriver.Run(Start, (variable, value));
        Assert.Contains("it finds no GPU (CUDA_ERROR_NO_DEVICE). See whether nvidia-smi lists one", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Other_trouble_at_the_start_names_the_error()
    {
        string output = await StubDriver.Run(Start, ("STUB_INIT", "999"));
        Assert.Contains("does not start (CUDA error 999). See whether nvidia-smi works.", output, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_driver_the_exception_lists_what_was_tried_and_the_remedy()
    {
        Assert.SkipWhen(CudaDriver.Search.IsFound, "This machine has an NVIDIA driver.");
        MissingLibraryException exception = Assert.Throws<MissingLibraryException>(() => CudaDevice.Get(0));
        Assert.Contains("The CUDA driver was not found. Install the NVIDIA driver", exception.Message, StringComparison.Ordinal);
        Assert.Contains("libcuda.so.1", exception.Message, StringComparison.Ordinal);
        Assert.Empty(CudaDevice.All);
        Assert.NotNull(CudaDriver.Problem);
    }

    [Fact]
    public void The_report_never_throws_and_says_what_was_searched()
    {
        string report = CudaReport.Create().ToString();
        Assert.Contains("CUDA driver: ", report, StringComparison.Ordinal);
        Assert.Contains("NVRTC: ", report, StringComparison.Ordinal);
        Assert.Contains("Searched for NVRTC:\n  MAMBACUDA_LIBRARY_PATH", report, StringComparison.Ordinal);
    }
}
