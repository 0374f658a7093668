namespace MambaCuda.Driver;

/// <summary>How much memory a device has.</summary>
/// <param name="FreeBytes">What is free, over all processes.</param>
/// <param name="TotalBytes">All of it.</param>
public readonly record struct DeviceMemoryInfo(long FreeBytes, long TotalBytes);
