using System.Text;
using System.Text.Json;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>An index and its shards must say the same; hostile indexes lead nowhere.</summary>
public sealed class ShardedFileTests : IDisposable
{
    private const string A = "a.safetensors", B = "b.safetensors";

    private const string Good = """
        {"metadata": {"total_size": 24, "format": "pt"}, "weight_map": {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}
        """;

    private readonly TemporaryFolder _folder = new();

    public ShardedFileTests()
    {
        _folder.Write(A, TinyFiles.Safetensors("""
            {"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}
            """, 16));
        _folder.Write(B, TinyFiles.Safetensors("""{"z":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8));
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_tensors_of_all_shards_are_there()
    {
        using ShardedFile file = Open(Good);
        Assert.Equal(["x", "y", "z"], file.Tensors.Keys.Order());
        Assert.Equal(2, file.Shards.Count);
        Assert.Equal(A, Path.GetFileName(((MappedFile)file.Tensors["y"].Memory).Path));
    }

    [Theory]
    [InlineData("""{"weight_map":{"x":"a.safetensors","y":"a.safetensors"}}""", null)]
    [InlineData(
        """{"weight_map":{"x":"a.safetensors","y":"b.safetensors","z":"b.safetensors"}}""",
        "'a.safetensors' holds tensors that the index does not place there: 'y'")]
    [InlineData("""{"weight_map":{"x":"a.safetensors","z":"b.safetensors"}}""", "'y'")]
    [InlineData(
        """{"weight_map":{"x":"a.safetensors","y":"a.safetensors","z":"b.safetensors","w":"b.safetensors"}}""", "do not hold them: 'w'")]
    [InlineData("""{"weight_map":{"x":"c.safetensors"}}""", "'c.safetensors', which is not there")]
    [InlineData("""{"weight_map":{"x":"../a.safetensors"}}""", "'../a.safetensors', which is not a plain file name")]
    [InlineData("""{"weight_map":{"x":"/etc/passwd"}}""", "not a plain file name")]
    [InlineData("""{"weight_map":{"x":"..\\a"}}""", "not a plain file name")]
    [InlineData("""{"weight_map":{"x":"C:a"}}""", "not a plain file name")]
    [InlineData("""{"weight_map":{"x":".."}}""", "not a plain file name")]
    [InlineData("""{"weight_map":{"x":""}}""", "not a plain file name")]
    [InlineData("""{"weight_map":{"x":"a\u0000b"}}""", "not a plain file name")]
    [InlineData("""{"weight_map":{"x":1}}""", "is not a string")]
    [InlineData("""{"weight_map":{"x":"a.safetensors","x":"a.safetensors"}}""", "'x' twice")]
    [InlineData("""{"weight_map":{},"weight_map":{}}""", "'weight_map', twice")]
    [InlineData("""{"weight_map":{}}""", "is empty")]
    [InlineData("""{"weight_map":[]}""", "not an object")]
    [InlineData("""{"metadata":{}}""", "lacks weight_map")]
    [InlineData("""{"weight_map":{"x":"a.safetensors"},"more":1}""", "'more', which is not part")]
    [InlineData("""{"metadata":{"total_size":-1},"weight_map":{"x":"a.safetensors"}}""", "total_size is not a number of bytes")]
    [InlineData("""{"metadata":{"total_size":"24"},"weight_map":{"x":"a.safetensors"}}""", "total_size is not a number of bytes")]
    [InlineData("""{"metadata":{"total_size":1e999},"weight_map":{"x":"a.safetensors"}}""", "total_size is not a number of bytes")]
    [InlineData(
        """{"metadata":{"total_size":25},"weight_map":{"x":"a.safetensors","y":"a.safetensors","z":"b.safetensors"}}""",
        "have 25 bytes, but the shards hold 24")]
    [InlineData("""[]""", "not a JSON object")]
    [InlineData("""{"weight_map":{"x":"a.safetensors"}} x""", "not valid JSON")]
    [InlineData("""{"weight_map":{"\ud800":"a.safetensors"}}""", "not valid JSON")]
    public void A_contradiction_is_named(string index, string? problem)
    {
        if (problem is null)
        {
            Open(index).Dispose();
            return;
        }

        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Open(index));
        Assert.Contains(problem, refusal.Message);
        Assert.EndsWith("index.json", refusal.Path);
    }

    [Fact]
    public void PyTorch_shards_are_read_alike()
    {
        _folder.Write("p1.bin", TorchArchive.Of(PickleWriter.StateDictionary("0", "FloatStorage", 2, 0, [2], [1]), new byte[8]).ToBytes());
        string index = _folder.Write("pytorch_model.bin.index.json", """{"metadata":{"total_size":8.0},"weight_map":{"a":"p1.bin"}}""");
        using ShardedFile file = ShardedFile.OpenPyTorch(index);
        Assert.Equal([2], file.Tensors["a"].Shape.ToArray());
    }

    [Fact]
    public void Mutated_indexes_are_refused_or_say_what_the_shards_hold()
    {
        byte[] original = Encoding.UTF8.GetBytes(Good);
        int refused = HostileFiles.Check(
            seed => FileMutation.Of(original, seed),
            bytes =>
            {
                using ShardedFile file = ShardedFile.OpenSafetensors(_folder.Write("model.safetensors.index.json", bytes));
                using JsonDocument json = JsonDocument.Parse(bytes);
                Assert.Equal(
                    [("x", A), ("y", A), ("z", B)],
                    json.RootElement.GetProperty("weight_map").EnumerateObject()
                        .Select(entry => (entry.Name, entry.Value.GetString()!)).Order());
                Assert.True(!json.RootElement.TryGetProperty("metadata", out JsonElement metadata)
                    || !metadata.TryGetProperty("total_size", out JsonElement size) || size.GetDouble() == 24);
            },
            e => e is CheckpointException);
        Assert.InRange(refused, HostileFiles.Count / 2, HostileFiles.Count - 1);
    }

    private ShardedFile Open(string index) => ShardedFile.OpenSafetensors(_folder.Write("model.safetensors.index.json", index));
}
