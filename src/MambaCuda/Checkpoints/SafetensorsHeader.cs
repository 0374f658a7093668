using System.Buffers.Binary;
using System.Text.Json;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The header of a safetensors file: eight bytes of length, then a JSON object that gives each tensor's type, shape and place in
/// the data behind it. Read straight from the mapped file, so that a huge header costs no more memory than what it describes.
/// The data must be covered without gaps and without overlaps, as the format demands: a file then has one meaning only.
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>The format's own limit on the length of a header.</summary>
    public const long LongestHeader = 100_000_000;

    /// <summary>Many times more than any model has; bounds what a hostile header can make the reader keep.</summary>
    public const int MostTensors = 1 << 18;

    /// <summary>What names and metadata may take in all; real headers have a few hundred kilobytes of them.</summary>
    public const long MostText = 1 << 25;

    private const int LengthBytes = 8;
    private const int MostDimensions = 32;
    private const string MetadataName = "__metadata__";

    private readonly MappedFile _file;
    private readonly long _dataStart;
    private readonly Dictionary<string, StoredTensor> _tensors = [];
    private readonly Dictionary<string, string> _metadata = [];
    private readonly long[] _shape = new long[MostDimensions];
    private readonly long[] _offsets = new long[2];
    private long _text;

    private SafetensorsHeader(MappedFile file, long dataStart)
    {
        _file = file;
        _dataStart = dataStart;
    }

    public IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    public IReadOnlyDictionary<string, string> Metadata => _metadata;

    public static SafetensorsHeader Read(MappedFile file)
    {
        if (file.ByteLength < LengthBytes)
        {
            throw Refused(file, $"has {file.ByteLength} bytes, too few for a safetensors file");
        }

        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(file.Span(0, LengthBytes));
        if (length > LongestHeader)
        {
            throw Refused(file, $"says that its header has {length} bytes, but a safetensors header has at most {LongestHeader}");
        }

        if ((long)length > file.ByteLength - LengthBytes)
        {
            throw Refused(file, $"says that its header has {length} bytes, but only {file.ByteLength - LengthBytes} follow");
        }

        SafetensorsHeader header = new(file, LengthBytes + (long)length);
        try
        {
            header.ReadObject(file.Span(LengthBytes, (int)length));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the reader's word for escapes and bytes that are not Unicode.
            throw Refused(file, $"its header is not valid JSON: {e.Message.TrimEnd('.')}", e);
        }

        header.CheckCoverage();
        return header;
    }

    private void ReadObject(ReadOnlySpan<byte> json)
    {
        if (json.IsEmpty || json[0] != (byte)'{')
        {
            throw Refused("its header does not begin with '{'");
        }

        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = 4 });
        reader.Read();
        bool sawMetadata = false;
        while (NextProperty(ref reader) is { } name)
        {
            if (name == MetadataName)
            {
                if (sawMetadata)
                {
                    throw Refused($"its header names {MetadataName} twice");
                }

                sawMetadata = true;
                ReadMetadata(ref reader);
            }
            else if (_tensors.Count == MostTensors)
            {
                throw Refused($"its header names more than {MostTensors} tensors");
            }
            else if (!_tensors.TryAdd(name, ReadTensor(ref reader, name)))
            {
                throw Refused($"its header names the tensor {name.Quoted()} twice");
            }
        }

        if (reader.Read())
        {
            throw Refused("something stands behind the JSON object of its header");
        }
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.StartObject, $"{MetadataName} is not an object");
        while (NextProperty(ref reader) is { } key)
        {
            Expect(ref reader, JsonTokenType.String, $"{key.Quoted()} in {MetadataName} is not a string");
            if (!_metadata.TryAdd(key, Text(ref reader)))
            {
                throw Refused($"{MetadataName} names {key.Quoted()} twice");
            }
        }
    }

    private StoredTensor ReadTensor(ref Utf8JsonReader reader, string name)
    {
        Expect(ref reader, JsonTokenType.StartObject, $"the entry of {name.Quoted()} is not an object");
        DataType? type = null;
        int dimensions = -1;
        long start = -1, end = -1;
        while (NextProperty(ref reader) is { } field)
        {
            if (field == "dtype" && type is null)
            {
                Expect(ref reader, JsonTokenType.String, $"dtype of {name.Quoted()} is not a string");
                type = SafetensorsTypes.Parse(reader.GetString()!)
                    ?? throw Refused($"dtype of {name.Quoted()} is {reader.GetString()!.Quoted()}, not one of {SafetensorsTypes.Known}");
            }
            else if (field == "shape" && dimensions < 0)
            {
                dimensions = ReadIntegers(ref reader, name, field, _shape);
            }
            else if (field == "data_offsets" && start < 0)
            {
                if (ReadIntegers(ref reader, name, field, _offsets) != 2)
                {
                    throw Refused($"data_offsets of {name.Quoted()} are not two numbers");
                }

                (start, end) = (_offsets[0], _offsets[1]);
            }
            else
            {
                string problem = field is "dtype" or "shape" or "data_offsets" ? "twice" : "which is not part of the format";
                throw Refused($"the entry of {name.Quoted()} has {field.Quoted()}, {problem}");
            }
        }

        if (type is null || dimensions < 0 || start < 0)
        {
            throw Refused($"the entry of {name.Quoted()} lacks {(type is null ? "dtype" : dimensions < 0 ? "shape" : "data_offsets")}");
        }

        return Place(name, type.Value, _shape.AsSpan(0, dimensions), start, end);
    }

    private StoredTensor Place(string name, DataType type, ReadOnlySpan<long> shape, long start, long end)
    {
        long dataLength = _file.ByteLength - _dataStart;
        if (start > end || end > dataLength)
        {
            throw Refused($"data_offsets of {name.Quoted()} are [{start}, {end}], but the data has {dataLength} bytes");
        }

        if (!StoredTensor.TryByteLength(type, shape, out long byteLength) || byteLength != end - start)
        {
            throw Refused($"{name.Quoted()}, {type} {StoredTensor.ShapeText(shape)}, does not fill the {end - start} bytes it is given");
        }

        return new StoredTensor(name, type, shape, _file, _dataStart + start);
    }

    /// <summary>Reads an array of numbers from 0 to 2^63 - 1; the count, which is at most the length of the destination.</summary>
    private int ReadIntegers(ref Utf8JsonReader reader, string name, string field, scoped Span<long> destination)
    {
        Expect(ref reader, JsonTokenType.StartArray, $"{field} of {name.Quoted()} is not an array");
        int count = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long value) || value < 0)
            {
                throw Refused($"{field} of {name.Quoted()} holds something other than whole numbers from 0 to 2^63 - 1");
            }

            if (count == destination.Length)
            {
                throw Refused($"{field} of {name.Quoted()} has more than {destination.Length} numbers");
            }

            destination[count++] = value;
        }

        return count;
    }

    /// <summary>The tensors in the order of their data must lie end to end, from the header's end to the file's.</summary>
    private void CheckCoverage()
    {
        long next = _dataStart;
        StoredTensor? previous = null;
        foreach (StoredTensor tensor in _tensors.Values.OrderBy(tensor => tensor.ByteOffset).ThenBy(tensor => tensor.ByteLength))
        {
            if (tensor.ByteOffset != next)
            {
                string where = previous is null ? "the start of the data" : previous.Name.Quoted();
                throw Refused(tensor.ByteOffset < next
                    ? $"the data of {tensor.Name.Quoted()} overlaps {where}"
                    : $"{tensor.ByteOffset - next} bytes between {where} and {tensor.Name.Quoted()} belong to no tensor");
            }

            next += tensor.ByteLength;
            previous = tensor;
        }

        if (next != _file.ByteLength)
        {
            throw Refused($"{_file.ByteLength - next} bytes at the end of the file belong to no tensor");
        }
    }

    private string? NextProperty(ref Utf8JsonReader reader) =>
        reader.Read() && reader.TokenType == JsonTokenType.PropertyName ? Text(ref reader) : null;

    private string Text(ref Utf8JsonReader reader)
    {
        _text += reader.ValueSpan.Length;
        return _text <= MostText
            ? reader.GetString()!
            : throw Refused($"its header holds more than {MostText} bytes of names and metadata");
    }

    private void Expect(ref Utf8JsonReader reader, JsonTokenType type, string problem)
    {
        if (!reader.Read() || reader.TokenType != type)
        {
            throw Refused(problem);
        }
    }

    private CheckpointException Refused(string problem) => Refused(_file, problem);

    private static CheckpointException Refused(MappedFile file, string problem, Exception? inner = null) =>
        new(file.Path, problem, "The file is damaged or is not safetensors: download or write it again", inner);
}
