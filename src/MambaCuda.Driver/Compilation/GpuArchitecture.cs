using System.Globalization;

namespace MambaCuda.Driver;

/// <summary>
/// What a program is compiled for: a real architecture (sm_90), which gives machine code (a cubin) for the cards of that generation,
/// or a virtual one (compute_90), which gives PTX that the driver assembles for this card and later ones.
/// </summary>
/// <param name="Capability">The generation.</param>
/// <param name="IsVirtual">Whether PTX comes out.</param>
/// <param name="Suffix">"a" for instructions of that generation alone (sm_90a), "f" for those of its family; else empty.</param>
public readonly record struct GpuArchitecture(ComputeCapability Capability, bool IsVirtual = false, string Suffix = "")
{
    /// <summary>As NVRTC takes it: "sm_90", "sm_90a", "compute_90".</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{(IsVirtual ? "compute" : "sm")}_{Capability.Number}{Suffix}");
}
