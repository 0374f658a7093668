using System.Runtime.InteropServices;

namespace MambaCuda.Driver.Tests;

/// <summary>Our structs against the declarations of cuda.h, with sizes and offsets as a CUDA compiler has them.</summary>
public class NativeLayoutTests
{
    private const string Declarations = """
        #define offsetof(type, member) ((unsigned long long)&((type*)0)->member)
        typedef void* Handle;
        struct Attribute { int id; char pad[8 - sizeof(int)]; union { char pad[64]; struct { unsigned x, y, z; } cluster; int value; } value; };
        struct Configuration { unsigned grid[3], block[3], sharedBytes; Handle stream; Attribute* attributes; unsigned attributeCount; };
        struct PoolProperties { int allocation, handles; struct { int type, id; } location; void* security; unsigned long long maxBytes;
                                unsigned short usage; unsigned char reserved[54]; };
        struct UpdateResult { int result; Handle errorNode, errorFromNode; };

        """;

    [Fact]
    public unsafe void Sizes_and_offsets_are_those_of_cuda_h()
    {
        (string Expression, int Value)[] facts =
        [
            ("sizeof(Attribute)", sizeof(LaunchAttribute)),
            ("offsetof(Attribute, value)", Offset<LaunchAttribute>(nameof(LaunchAttribute.Value))),
            ("offsetof(Attribute, value.cluster.x)", Offset<LaunchAttribute>(nameof(LaunchAttribute.ClusterX))),
            ("offsetof(Attribute, value.cluster.z)", Offset<LaunchAttribute>(nameof(LaunchAttribute.ClusterZ))),
            ("sizeof(Configuration)", sizeof(NativeLaunchConfiguration)),
            ("offsetof(Configuration, block)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.BlockX))),
            ("offsetof(Configuration, sharedBytes)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.SharedBytes))),
            ("offsetof(Configuration, stream)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.Stream))),
            ("offsetof(Configuration, attributes)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.Attributes))),
            ("offsetof(Configuration, attributeCount)", Offset<NativeLaunchConfiguration>(nameof(NativeLaunchConfiguration.AttributeCount))),
            ("sizeof(PoolProperties)", sizeof(MemoryPoolProperties)),
            ("offsetof(PoolProperties, location.id)", Offset<MemoryPoolProperties>(nameof(MemoryPoolProperties.LocationId))),
            ("offsetof(PoolProperties, maxBytes)", Offset<MemoryPoolProperties>(nameof(MemoryPoolProperties.MaxBytes))),
            ("sizeof(UpdateResult)", sizeof(GraphUpdateResult)),
            ("offsetof(UpdateResult, errorFromNode)", Offset<GraphUpdateResult>(nameof(GraphUpdateResult.ErrorFromNode))),
        ];
        string asserts = string.Concat(facts.Select(fact => $"static_assert({fact.Expression} == {fact.Value}, \"{fact.Expression}\");\n"));
        KernelProgram program = new("layout.cu", Declarations + asserts)
        {
            Options = ["--std=c++17"],
        };
        CompiledProgram compiled = Nvrtc.Compiler.Compile(program, new GpuArchitecture(new ComputeCapability(8, 0)));
        Assert.Empty(compiled.Log);
    }

    private static int Offset<T>(string field) => (int)Marshal.OffsetOf<T>(field);
}
