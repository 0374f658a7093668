using System.IO.MemoryMappedFiles;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A file mapped into memory for reading: pages are read when they are touched, and shared between processes. The file must
/// not be shortened while it is mapped; replacing it under its name is harmless.
/// </summary>
public sealed unsafe class MappedFile : HostMemory
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _pointer;

    private MappedFile(string path, MemoryMappedFile file, MemoryMappedViewAccessor view, long byteLength)
    {
        Path = path;
        _file = file;
        _view = view;
        ByteLength = byteLength;
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        _pointer = start + view.PointerOffset;
    }

    /// <summary>Maps a file.</summary>
    /// <exception cref="CheckpointException">The file is absent, empty, not a plain file, or may not be read.</exception>
    public static MappedFile Open(string path)
    {
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 1);
            if (stream.Length == 0)
            {
                throw new CheckpointException(path, "the file is empty");
            }

            MemoryMappedFile file = MemoryMappedFile.CreateFromFile(
                stream, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            try
            {
                return new MappedFile(path, file, file.CreateViewAccessor(0, stream.Length, MemoryMappedFileAccess.Read), stream.Length);
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            throw new CheckpointException(path, $"cannot be opened: {e.Message.TrimEnd('.')}", inner: e);
        }
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <inheritdoc/>
    public override long ByteLength { get; }

    /// <inheritdoc/>
    public override byte* Pointer => _pointer != null ? _pointer : throw new ObjectDisposedException(nameof(MappedFile), Path);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_pointer != null)
        {
            _pointer = null;
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _file.Dispose();
        }
    }
}
