using System.Text.Json;

namespace MambaCuda;

/// <summary>
/// An index that says which shard holds which tensor (model.safetensors.index.json). Shards are plain file names: one that could
/// lead out of the index's folder is refused.
/// </summary>
internal sealed class ShardIndex
{
    public const long LongestFile = 1 << 25;
    public const int MostShards = 1 << 12;

    private readonly string _path;
    private readonly Dictionary<string, string> _shardOf = [];
    private readonly Dictionary<string, string> _shards = [];

    private ShardIndex(string path) => _path = path;

    /// <summary>The shard of each tensor.</summary>
    public IReadOnlyDictionary<string, string> ShardOf => _shardOf;

    /// <summary>The names of the shards.</summary>
    public IReadOnlyCollection<string> Shards => _shards.Keys;

    /// <summary>The number of bytes of all tensors, as the index says; or null where it does not.</summary>
    public double? TotalSize { get; private set; }

    public static ShardIndex Read(string path)
    {
        using MappedFile file = MappedFile.Open(path);
        ShardIndex index = new(path);
        if (file.ByteLength > LongestFile)
        {
            throw index.Refused($"has {file.ByteLength} bytes, but an index has at most {LongestFile}");
        }

        try
        {
            index.ReadObject(file.Span(0, (int)file.ByteLength));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the reader's word for escapes and bytes that are not Unicode.
            throw index.Refused($"is not valid JSON: {e.Message.TrimEnd('.')}", e);
        }

        return index;
    }

    public CheckpointException Refused(string problem, Exception? inner = null) =>
        new(_path, problem, "Download the index and all its shards again", inner);

    private void ReadObject(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = 8 });
        Expect(ref reader, JsonTokenType.StartObject, "is not a JSON object");
        bool sawMap = false, sawMetadata = false;
        while (NextName(ref reader) is { } name)
        {
            if (name == "weight_map" && !sawMap)
            {
                sawMap = true;
                ReadMap(ref reader);
            }
            else if (name == "metadata" && !sawMetadata)
            {
                sawMetadata = true;
                ReadMetadata(ref reader);
            }
            else
            {
                throw Refused($"has {name.Quoted()}, {(name is "weight_map" or "metadata" ? "twice" : "which is not part of the format")}");
            }
        }

        if (_shardOf.Count == 0)
        {
            throw Refused(sawMap ? "its weight_map is empty" : "lacks weight_map");
        }

        reader.Read();
    }

    private void ReadMap(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.StartObject, "its weight_map is not an object");
        while (NextName(ref reader) is { } tensor)
        {
            Expect(ref reader, JsonTokenType.String, $"the shard of {tensor.Quoted()} is not a string");
            string shard = reader.GetString()!;
            if (!_shards.TryGetValue(shard, out string? known))
            {
                CheckName(tensor, shard);
                _shards.Add(shard, known = shard);
            }

            if (!_shardOf.TryAdd(tensor, known))
            {
                throw Refused($"names {tensor.Quoted()} twice");
            }

            if (_shardOf.Count > SafetensorsHeader.MostTensors || _shards.Count > MostShards)
            {
                throw Refused($"names more than {SafetensorsHeader.MostTensors} tensors or more than {MostShards} shards");
            }
        }
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.StartObject, "its metadata is not an object");
        while (NextName(ref reader) is { } name)
        {
            reader.Read();
            if (name != "total_size")
            {
                // Free text of whoever wrote it.
                reader.Skip();
            }
            else if (TotalSize is not null)
            {
                throw Refused("names metadata.total_size twice");
            }
            else if (reader.TokenType != JsonTokenType.Number || !reader.TryGetDouble(out double size) || !double.IsFinite(size)
                || size < 0 || size != Math.Floor(size))
            {
                throw Refused("its metadata.total_size is not a number of bytes");
            }
            else
            {
                TotalSize = size;
            }
        }
    }

    /// <summary>Letters, digits, '-', '_' and '.', not first: no separator, drive or stream of any system is written so.</summary>
    private void CheckName(string tensor, string shard)
    {
        if (shard.Length is 0 or > 255 || shard[0] == '.' || !shard.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
        {
            throw Refused($"the shard of {tensor.Quoted()} is {shard.Quoted()}, which is not a plain file name");
        }
    }

    private static string? NextName(ref Utf8JsonReader reader) =>
        reader.Read() && reader.TokenType == JsonTokenType.PropertyName ? reader.GetString() : null;

    private void Expect(ref Utf8JsonReader reader, JsonTokenType type, string problem)
    {
        if (!reader.Read() || reader.TokenType != type)
        {
            throw Refused(problem);
        }
    }
}
