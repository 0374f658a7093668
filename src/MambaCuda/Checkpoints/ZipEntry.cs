namespace MambaCuda;

/// <summary>An uncompressed entry of a zip archive whose headers and checksum were found to be right.</summary>
/// <param name="Name">The name, with '/' between folders.</param>
/// <param name="Offset">The first byte of the data in the archive.</param>
/// <param name="Length">The number of bytes.</param>
internal readonly record struct ZipEntry(string Name, long Offset, long Length);
