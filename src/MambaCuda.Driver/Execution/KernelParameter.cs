namespace MambaCuda.Driver;

/// <summary>One parameter of a kernel, as its binary has it.</summary>
/// <param name="ByteOffset">Where it lies among all parameters.</param>
/// <param name="ByteLength">Its size.</param>
public readonly record struct KernelParameter(int ByteOffset, int ByteLength);
