using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// A file that torch.save wrote (pytorch_model.bin): a zip archive of one pickle and one entry for each storage. The archive is mapped,
/// every checksum in it verified, and the pickle read by a machine that can build tensors and nothing else; no code in the file is
/// executed. Tensors are used where they lie; only those with gaps or transposed are copied.
/// </summary>
public sealed class PyTorchFile : TensorFile
{
    private const string PickleName = "data.pkl";
    private const int MostDimensions = 32;

    // What PyTorch itself reads.
    private const int NewestFormat = 10;

    private readonly MappedFile _file;
    private readonly IReadOnlyDictionary<string, ZipEntry> _entries;
    private readonly string _folder;
    private readonly List<NativeHostMemory> _copies = [];
    private readonly Dictionary<string, StoredTensor> _tensors = [];
    private long _copiedBytes;

    private PyTorchFile(MappedFile file, IReadOnlyDictionary<string, ZipEntry> entries) : base(file.Path)
    {
        _file = file;
        _entries = entries;
        string[] pickles = [.. entries.Keys.Where(name => name.EndsWith($"/{PickleName}", StringComparison.Ordinal)).Take(2)];
        _folder = pickles.Length == 1
            ? pickles[0][..^PickleName.Length]
            : throw Refused(
                $"the archive holds {(pickles.Length == 0 ? "no" : "more than one")} {PickleName}", "Save the state_dict with torch.save");
    }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    /// <summary>Maps a file, verifies its checksums and reads the description of its tensors.</summary>
    /// <exception cref="CheckpointException">
    /// The file cannot be read, is damaged, is of the time before PyTorch 1.6, or holds something else than a dictionary of tensors.
    /// </exception>
    public static PyTorchFile Open(string path)
    {
        MappedFile file = MappedFile.Open(path);
        PyTorchFile? opened = null;
        try
        {
            RefuseLegacy(file);
            opened = new PyTorchFile(file, ZipDirectory.Read(file));
            opened.CheckFormat();
            opened.ReadTensors();
            return opened;
        }
        catch
        {
            opened?.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        _copies.ForEach(copy => copy.Dispose());
        _file.Dispose();
    }

    private static void RefuseLegacy(MappedFile file)
    {
        if (file.ByteLength >= 2 && file.Span(0, 2) is [0x80, >= 1 and <= 5])
        {
            throw new CheckpointException(
                file.Path, "is a bare pickle, as PyTorch before 1.6 wrote it",
                "Load it in PyTorch and save it again: torch.save(torch.load(path, weights_only=True), path)");
        }
    }

    private void CheckFormat()
    {
        if (_entries.ContainsKey(_folder + "constants.pkl"))
        {
            throw Refused("is a TorchScript program", "Save the state_dict with torch.save");
        }

        if (Text("byteorder") is { } order && order != "little")
        {
            throw Refused($"its byte order is {order.Quoted()}; only 'little' is supported", "Save it again on a little-endian machine");
        }

        if (Text("version") is { } version
            && !(int.TryParse(version.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
                && number is >= 1 and <= NewestFormat))
        {
            throw Refused(
                $"its format version is {version.Quoted()}, but only 1 to {NewestFormat} are known",
                "Save it again with a current PyTorch");
        }
    }

    private void ReadTensors()
    {
        ZipEntry pickle = _entries[_folder + PickleName];
        int length = (int)Math.Min(pickle.Length, Unpickler.LongestPickle + 1L);
        if (Unpickler.Read(Path, _file.Span(pickle.Offset, length)) is not PickleDictionary root)
        {
            throw Refused("does not hold a dictionary of tensors", "Save the state_dict alone with torch.save");
        }

        foreach ((string name, object? value) in root.Items)
        {
            if (value is not PickleTensor tensor)
            {
                throw Refused($"{name.Quoted()} is not a tensor", "Save the state_dict alone with torch.save");
            }

            _tensors.Add(name, Resolve(name, tensor));
        }
    }

    private StoredTensor Resolve(string name, PickleTensor tensor)
    {
        PickleStorage storage = tensor.Storage;
        if (!_entries.TryGetValue($"{_folder}data/{storage.Key}", out ZipEntry entry))
        {
            throw Damaged($"{name.Quoted()} lies in the storage {storage.Key.Quoted()}, which is not there");
        }

        int elementSize = storage.Type.Size();
        if (entry.Length % elementSize != 0 || entry.Length / elementSize != storage.Count)
        {
            throw Damaged(
                $"the storage of {name.Quoted()} should hold {storage.Count} elements of {storage.Type}, but has {entry.Length} bytes");
        }

        if (!StoredTensor.TryByteLength(storage.Type, tensor.Shape, out long byteLength) || !IsInside(tensor, byteLength / elementSize))
        {
            string view =
                $"{StoredTensor.ShapeText(tensor.Shape)} with strides {StoredTensor.ShapeText(tensor.Strides)} at {tensor.Offset}";
            throw Damaged($"{name.Quoted()}, {view}, does not fit into its storage of {storage.Count} elements");
        }

        long start = entry.Offset + (tensor.Offset * elementSize);
        return IsContiguous(tensor) || byteLength == 0
            ? new StoredTensor(name, storage.Type, tensor.Shape, _file, start)
            : new StoredTensor(name, storage.Type, tensor.Shape, Copy(name, tensor, start, byteLength));
    }

    /// <summary>Every element lies in the storage, and there are no more of them than the storage has.</summary>
    private static bool IsInside(PickleTensor tensor, long count)
    {
        if (tensor.Shape.Length != tensor.Strides.Length || tensor.Shape.Length > MostDimensions
            || tensor.Offset < 0 || tensor.Offset > tensor.Storage.Count || count > tensor.Storage.Count)
        {
            return false;
        }

        Int128 last = tensor.Offset;
        for (int i = 0; i < tensor.Shape.Length; i++)
        {
            if (tensor.Strides[i] < 0)
            {
                return false;
            }

            last += (Int128)Math.Max(tensor.Shape[i] - 1, 0) * tensor.Strides[i];
        }

        return count == 0 || last < tensor.Storage.Count;
    }

    private static bool IsContiguous(PickleTensor tensor)
    {
        long expected = 1;
        for (int i = tensor.Shape.Length - 1; i >= 0; i--)
        {
            // The stride of a dimension of one element is never used, and PyTorch leaves any number there.
            if (tensor.Shape[i] != 1 && tensor.Strides[i] != expected)
            {
                return false;
            }

            expected *= tensor.Shape[i];
        }

        return true;
    }

    private unsafe NativeHostMemory Copy(string name, PickleTensor tensor, long start, long byteLength)
    {
        // Many views of one storage could ask for many times the file.
        _copiedBytes += byteLength;
        if (_copiedBytes > _file.ByteLength)
        {
            throw Refused(
                $"laying out {name.Quoted()} and others without gaps would take more memory than the file has", "Save contiguous tensors");
        }

        int elementSize = tensor.Storage.Type.Size();
        NativeHostMemory copy = StridedCopy.ToContiguous(
            _file.Pointer + start, elementSize, tensor.Shape, tensor.Strides, byteLength / elementSize);
        _copies.Add(copy);
        return copy;
    }

    private string? Text(string name)
    {
        const int Longest = 64;
        return _entries.TryGetValue(_folder + name, out ZipEntry entry)
            ? System.Text.Encoding.UTF8.GetString(_file.Span(entry.Offset, (int)Math.Min(entry.Length, Longest)))
            : null;
    }

    private CheckpointException Damaged(string problem) => Refused(problem, "Download the file again");

    private CheckpointException Refused(string problem, string remedy) => new(_file.Path, problem, remedy);
}
