using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>cuBLASLt's functions as they are exported, in its own names and argument order (cublasLt.h).</summary>
internal static unsafe partial class CublasLtApi
{
    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtCreate(out nint handle);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtDestroy(nint handle);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial nuint cublasLtGetVersion();

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatmulDescCreate(out nint description, CublasComputeType compute, CublasDataType scale);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatmulDescDestroy(nint description);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatmulDescSetAttribute(nint description, CublasLtMatmulAttribute attribute, void* value, nuint bytes);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatrixLayoutCreate(
        out nint layout, CublasDataType type, ulong rows, ulong columns, long leadingDimension);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatrixLayoutDestroy(nint layout);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatmulPreferenceCreate(out nint preference);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatmulPreferenceDestroy(nint preference);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatmulPreferenceSetAttribute(
        nint preference, CublasLtPreferenceAttribute attribute, void* value, nuint bytes);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatmulAlgoGetHeuristic(
        nint handle, nint description, nint a, nint b, nint c, nint d, nint preference,
        int wanted, CublasLtHeuristic* results, out int found);

    [LibraryImport(NativeImports.CublasLt)]
    public static partial int cublasLtMatmul(
        nint handle, nint description, void* alpha, nint a, nint aLayout, nint b, nint bLayout,
        void* beta, nint c, nint cLayout, nint d, nint dLayout,
        CublasLtAlgorithm* algorithm, nint workspace, nuint workspaceBytes, nint stream);
}

/// <summary>cudaDataType.</summary>
internal enum CublasDataType
{
    Float32 = 0,
    Float16 = 2,
    BFloat16 = 14,
}

/// <summary>cublasComputeType_t: sums in float32, whose operands no faster type stands in for.</summary>
internal enum CublasComputeType
{
    Float32 = 68,
}

/// <summary>cublasLtMatmulDescAttributes_t.</summary>
internal enum CublasLtMatmulAttribute
{
    TransposeA = 3,
    TransposeB = 4,
}

/// <summary>cublasLtMatmulPreferenceAttributes_t.</summary>
internal enum CublasLtPreferenceAttribute
{
    MaxWorkspaceBytes = 1,
    ReductionSchemeMask = 3,
    MinAlignmentOfA = 5,
    MinAlignmentOfB = 6,
    MinAlignmentOfC = 7,
    MinAlignmentOfD = 8,
}

/// <summary>cublasLtMatmulAlgo_t.</summary>
[InlineArray(8)]
internal struct CublasLtAlgorithm
{
    private ulong _word;
}

/// <summary>cublasLtMatmulHeuristicResult_t.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CublasLtHeuristic
{
    public CublasLtAlgorithm Algorithm;
    public nuint WorkspaceBytes;
    public int State;
    public float Waves;
    public int Reserved0;
    public int Reserved1;
    public int Reserved2;
    public int Reserved3;
}
