namespace MambaCuda;

/// <summary>A safetensors file, mapped into memory.</summary>
public sealed class SafetensorsFile : TensorFile
{
    private readonly MappedFile _file;
    private readonly SafetensorsHeader _header;

    private SafetensorsFile(MappedFile file, SafetensorsHeader header) : base(file.Path)
    {
        _file = file;
        _header = header;
    }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, StoredTensor> Tensors => _header.Tensors;

    /// <summary>The free text that the file carries about itself (<c>__metadata__</c>); empty where there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _header.Metadata;

    /// <summary>Maps a file and checks its whole header.</summary>
    /// <exception cref="CheckpointException">
    /// The file cannot be read, or its header breaks a rule of the format; the message names the rule.
    /// </exception>
    public static SafetensorsFile Open(string path)
    {
        MappedFile file = MappedFile.Open(path);
        try
        {
            return new SafetensorsFile(file, SafetensorsHeader.Read(file));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _file.Dispose();
}
