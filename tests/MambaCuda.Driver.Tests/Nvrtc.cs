namespace MambaCuda.Driver.Tests;

/// <summary>NVRTC for tests, which are skipped where it is not.</summary>
internal static class Nvrtc
{
    public static RuntimeCompiler Compiler
    {
        get
        {
            Assert.SkipUnless(RuntimeCompiler.Search.IsFound, "NVRTC is not on this machine; on Debian, .ci/install-nvrtc installs it.");
            return RuntimeCompiler.Load();
        }
    }

    /// <summary>A template with a header of its own, in which an option counts.</summary>
    public static KernelProgram Scale { get; } = new("scale.cu", ScaleSource)
    {
        Headers = new Dictionary<string, string> { ["mamba/factor.cuh"] = "#pragma once\n#define FACTOR 3\n" },
        NameExpressions = ["scale<float, 2>", "scale<double, 4>"],
        Options = ["--std=c++17", "-DSHIFT=5"],
    };

    private const string ScaleSource = """
        #include "mamba/factor.cuh"

        template <typename T, int kTimes>
        __global__ void scale(T* data, int count)
        {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < count) data[i] = data[i] * T(FACTOR * kTimes) + T(SHIFT);
        }
        """;
}
