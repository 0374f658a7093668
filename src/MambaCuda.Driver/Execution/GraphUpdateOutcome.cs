namespace MambaCuda.Driver;

/// <summary>Whether an instance of a graph could take over another graph's parameters, and if not, why (CUgraphExecUpdateResult).</summary>
public enum GraphUpdateOutcome
{
    /// <summary>It did.</summary>
    Success = 0,

    /// <summary>Some error.</summary>
    Error = 1,

    /// <summary>Other nodes or other edges.</summary>
    TopologyChanged = 2,

    /// <summary>A node is of another kind.</summary>
    NodeTypeChanged = 3,

    /// <summary>A node runs another kernel, from another context or of an older driver.</summary>
    FunctionChanged = 4,

    /// <summary>A parameter changed in a way that is not possible.</summary>
    ParametersChanged = 5,

    /// <summary>Something of a node cannot be updated.</summary>
    NotSupported = 6,

    /// <summary>A kernel changed in a way that is not possible.</summary>
    UnsupportedFunctionChange = 7,

    /// <summary>Attributes of a launch changed in a way that is not possible.</summary>
    AttributesChanged = 8,
}
