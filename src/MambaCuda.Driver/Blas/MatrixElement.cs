namespace MambaCuda.Driver;

/// <summary>The type of a matrix's elements.</summary>
public enum MatrixElement
{
    /// <summary>IEEE 754 binary32.</summary>
    Float32,

    /// <summary>IEEE 754 binary16.</summary>
    Float16,

    /// <summary>The upper half of a binary32.</summary>
    BFloat16,
}
