using System.Runtime.InteropServices;

namespace MambaCuda.Driver.Tests;

/// <summary>Our structs against the declarations of cuda.h (as StubDriver/libcuda.c repeats them), as a C compiler lays them out.</summary>
public class NativeLayoutTests
{
    [Fact]
    public unsafe void Sizes_and_offsets_are_those_of_cuda_h()
    {
        (string Expression, int Value)[] facts =
        [
            ("sizeof(CUlaunchAttribute)", sizeof(LaunchAttribute)),
            ("offsetof(CUlaunchAttribute, value)", Offset<LaunchAttribute>(nameof(LaunchAttribute.Value))),
            ("offsetof(CUlaunchAttribute, value.clusterDim.x)", Offset<LaunchAttribute>(nameof(LaunchAttribute.ClusterX))),
            ("offsetof(CUlaunchAttribute, value.clusterDim.y)", Offset<LaunchAttribute>(nameof(LaunchAttribute.ClusterY))),
            ("offsetof(CUlaunchAttribute, value.clusterDim.z)", Offset<LaunchAttribute>(nameof(LaunchAttribute.ClusterZ))),
            ("sizeof(CUlaunchConfig)", sizeof(NativeLaunchConfiguration)),
            ("offsetof(CUlaunchConfig, blockDimX)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.BlockX))),
            ("offsetof(CUlaunchConfig, sharedMemBytes)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.SharedBytes))),
            ("offsetof(CUlaunchConfig, hStream)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.Stream))),
            ("offsetof(CUlaunchConfig, attrs)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.Attributes))),
            ("offsetof(CUlaunchConfig, numAttrs)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.AttributeCount))),
            ("sizeof(CUmemPoolProps)", sizeof(MemoryPoolProperties)),
            ("offsetof(CUmemPoolProps, location.id)", Offset<MemoryPoolProperties>(nameof(MemoryPoolProperties.LocationId))),
            ("offsetof(CUmemPoolProps, maxSize)", Offset<MemoryPoolProperties>(nameof(MemoryPoolProperties.MaxBytes))),
            ("sizeof(CUgraphExecUpdateResultInfo)", sizeof(GraphUpdateResult)),
            ("offsetof(CUgraphExecUpdateResultInfo, errorNode)", Offset<GraphUpdateResult>(nameof(GraphUpdateResult.ErrorNode))),
            ("offsetof(CUgraphExecUpdateResultInfo, errorFromNode)", Offset<GraphUpdateResult>(nameof(GraphUpdateResult.ErrorFromNode))),
        ];
        using TemporaryFolder folder = new();
        IEnumerable<string> asserts = facts.Select(fact => $"_Static_assert({fact.Expression} == {fact.Value}, \"{fact.Expression}\");\n");
        string source = folder.Write("layout.c", $"#include \"{StubDriver.Source}\"\n{string.Concat(asserts)}");
        Assert.Equal("", CCompiler.Run("-fsyntax-only", source));
    }

    private static int Offset<T>(string field) => (int)Marshal.OffsetOf<T>(field);
}
