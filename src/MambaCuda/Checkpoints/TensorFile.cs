namespace MambaCuda;

/// <summary>
/// Named tensors in one or several files of one container format. Opening maps the files and checks everything that describes the
/// tensors; their bytes are read when they are used. Disposing unmaps the files: tensors must not be used afterwards.
/// </summary>
public abstract class TensorFile : IDisposable
{
    /// <summary>Creates the base of a container.</summary>
    /// <param name="path">The file that was named to open it.</param>
    protected TensorFile(string path) => Path = path;

    /// <summary>The file that was named to open it.</summary>
    public string Path { get; }

    /// <summary>The tensors by name.</summary>
    public abstract IReadOnlyDictionary<string, StoredTensor> Tensors { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Unmaps the files.</summary>
    protected abstract void Dispose(bool disposing);
}
