using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Every rule of the safetensors header, broken one at a time.</summary>
public sealed class SafetensorsFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Tensors_and_metadata_are_as_the_header_says()
    {
        using SafetensorsFile file = SafetensorsFile.Open(_folder.Write("a.safetensors", TinyFiles.Safetensors()));
        Assert.Equal(["empty", "half", "scalar", "weights"], file.Tensors.Keys.Order());
        Assert.Equal("tiny", file.Metadata["note"]);
        StoredTensor half = file.Tensors["half"];
        Assert.Equal((DataType.BFloat16, 4, 8), (half.Type, half.ElementCount, half.ByteLength));
        Assert.Equal([2, 1, 2], half.Shape.ToArray());
        Assert.Equal(Enumerable.Range(52, 8).Select(i => (byte)(i * 37)), half.Memory.Span(half.ByteOffset, 8).ToArray());
        Assert.Equal(0, file.Tensors["empty"].ByteLength);
        Assert.Empty(file.Tensors["scalar"].Shape.ToArray());
    }

    [Fact]
    public void A_file_without_tensors_is_valid()
    {
        using SafetensorsFile file = SafetensorsFile.Open(_folder.Write("a.safetensors", TinyFiles.Safetensors("{}   ", 0)));
        Assert.Empty(file.Tensors);
    }

    [Theory]
    [InlineData(
        """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "'a' twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"shape":[2]}}""", 8, "'shape', twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"stride":[1]}}""", 8, "'stride', which is not part")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2]}}""", 8, "lacks data_offsets")]
    [InlineData("""{"a":{"shape":[2],"data_offsets":[0,8]}}""", 8, "lacks dtype")]
    [InlineData("""{"a":{"dtype":"F32","data_offsets":[0,8]}}""", 8, "lacks shape")]
    [InlineData("""{"a":{"dtype":"U32","shape":[2],"data_offsets":[0,8]}}""", 8, "is 'U32'")]
    [InlineData("""{"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}""", 8, "dtype of 'a'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "does not fill")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "shape of 'a'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}""", 8, "shape of 'a'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}}""", 8, "does not fill")]
    [InlineData("""{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,0],"data_offsets":[0,0]}}""", 0, "does not fill")]
    [InlineData("""{"a":{"dtype":"F32","shape":[18446744073709551618],"data_offsets":[0,8]}}""", 8, "shape of 'a'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "data_offsets of 'a'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""", 8, "data_offsets of 'a'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}""", 8, "data_offsets of 'a'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}""", 8, "not two numbers")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""", 8, "but the data has 8 bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "4 bytes between the start of the data and 'a'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 12, "4 bytes at the end")]
    [InlineData(
        """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""",
        12, "overlaps 'a'")]
    [InlineData(
        """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""",
        8, "overlaps 'a'")]
    [InlineData("""{"a":[]}""", 0, "is not an object")]
    [InlineData("""{"__metadata__":{"format":1}}""", 0, "'format' in __metadata__")]
    [InlineData("""{"__metadata__":{"a":"x","a":"y"}}""", 0, "__metadata__ names 'a' twice")]
    [InlineData("""{"__metadata__":{},"__metadata__":{}}""", 0, "__metadata__ twice")]
    [InlineData("""{"__metadata__":null}""", 0, "__metadata__ is not an object")]
    [InlineData(""" {}""", 0, "does not begin with '{'")]
    [InlineData("""{} {}""", 0, "valid JSON")]
    [InlineData("""{"a":{"dtype":"F32",""", 0, "valid JSON")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}""", 0, "valid JSON")]
    public void A_broken_rule_is_named(string header, int dataLength, string problem) =>
        Refused(TinyFiles.Safetensors(header, dataLength), problem);

    [Theory]
    [InlineData(100_000_001L, "at most 100000000")]
    [InlineData(-1L, "at most 100000000")]
    [InlineData(long.MaxValue, "at most 100000000")]
    [InlineData(1000L, "but only")]
    public void A_length_that_cannot_be_is_named(long length, string problem)
    {
        byte[] file = TinyFiles.Safetensors();
        BitConverter.TryWriteBytes(file, length);
        Refused(file, problem);
    }

    [Fact]
    public void Files_too_short_for_a_length_are_named()
    {
        Refused([], "is empty");
        Refused([1, 2, 3], "too few");
    }

    /// <summary>The longest header that the format allows, all of it names: it must neither take long nor take memory.</summary>
    [Fact]
    public void A_header_of_a_hundred_megabytes_stays_within_bounds()
    {
        string path = _folder.File("a.safetensors");
        using (FileStream stream = File.Create(path))
        {
            stream.Write(BitConverter.GetBytes(SafetensorsHeader.LongestHeader));
            byte[] entry = new byte[100_000];
            entry.AsSpan().Fill((byte)'x');
            entry[0] = (byte)'"';
            "\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"u8.CopyTo(entry.AsSpan(entry.Length - 100));
            entry.AsSpan(entry.Length - 48).Fill((byte)' ');
            stream.Write("{"u8);
            for (int i = 0; i < 999; i++)
            {
                BitConverter.TryWriteBytes(entry.AsSpan(1), 0x6161616161616161L + i + ((long)i << 20));
                stream.Write(entry);
            }

            stream.SetLength(8 + SafetensorsHeader.LongestHeader);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200_000_000);
    }

    [Fact]
    public void A_file_that_is_absent_or_a_folder_is_named()
    {
        Assert.Contains("cannot be opened", Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(_folder.File("none"))).Message);
        Assert.Contains("cannot be opened", Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(_folder.Path)).Message);
    }

    private void Refused(byte[] file, string problem)
    {
        string path = _folder.Write("a.safetensors", file);
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path));
        Assert.Equal(path, refusal.Path);
        Assert.Contains(problem, refusal.Message);
    }
}
