using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>The weights that a pass computes with, whoever holds them: parameters that are trained, or a checkpoint's as they are.</summary>
internal interface IModelWeights : IDisposable
{
    /// <summary>(vocabulary size, hidden size).</summary>
    MatrixView Embedding { get; }

    /// <summary>(vocabulary size, hidden size); the embedding where they are tied.</summary>
    WeightView Head { get; }

    /// <summary>(1, hidden size).</summary>
    MatrixView FinalNorm { get; }

    IReadOnlyList<LayerWeights> Layers { get; }
}
