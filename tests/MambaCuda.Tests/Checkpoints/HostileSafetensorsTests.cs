using System.Buffers.Binary;
using System.Text.Json;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>A mutated safetensors file is refused by name, or holds exactly what its header says.</summary>
public class HostileSafetensorsTests
{
    [Fact]
    public void Mutated_files_are_refused_or_hold_what_they_declare()
    {
        byte[] original = TinyFiles.Safetensors();
        using TemporaryFolder folder = new();
        int refused = HostileFiles.Check(
            seed => FileMutation.Of(original, seed),
            bytes => OpenAndCompare(folder.Write("model.safetensors", bytes), bytes),
            e => e is CheckpointException);
        Assert.InRange(refused, HostileFiles.Count / 2, HostileFiles.Count - 1);
    }

    [Fact]
    public void Mutated_headers_of_the_right_length_are_refused_or_hold_what_they_declare()
    {
        byte[] original = TinyFiles.Safetensors();
        int headerLength = (int)BinaryPrimitives.ReadInt64LittleEndian(original);
        byte[] header = original[8..(8 + headerLength)];
        using TemporaryFolder folder = new();
        byte[] data = original[(8 + headerLength)..];
        int refused = HostileFiles.Check(
            seed =>
            {
                FileMutation mutation = FileMutation.Of(header, seed);
                return mutation with { Bytes = [.. BitConverter.GetBytes((long)mutation.Bytes.Length), .. mutation.Bytes, .. data] };
            },
            bytes => OpenAndCompare(folder.Write("model.safetensors", bytes), bytes),
            e => e is CheckpointException);
        Assert.InRange(refused, HostileFiles.Count * 9 / 10, HostileFiles.Count - 1);
    }

    /// <summary>Compares with a reading of the header that shares no code with the reader under test.</summary>
    private static void OpenAndCompare(string path, byte[] bytes)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        int headerLength = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        using JsonDocument header = JsonDocument.Parse(bytes.AsMemory(8, headerLength));
        JsonProperty[] declared = [.. header.RootElement.EnumerateObject().Where(property => property.Name != "__metadata__")];
        Assert.Equal(declared.Length, file.Tensors.Count);
        long end = 0;
        foreach (JsonProperty property in declared)
        {
            StoredTensor tensor = file.Tensors[property.Name];
            int[] offsets = [.. property.Value.GetProperty("data_offsets").EnumerateArray().Select(value => value.GetInt32())];
            Assert.Equal(property.Value.GetProperty("shape").EnumerateArray().Select(value => value.GetInt64()), tensor.Shape.ToArray());
            Assert.Equal(property.Value.GetProperty("dtype").GetString(), SafetensorsTypes.Name(tensor.Type));
            Assert.Equal(3, property.Value.EnumerateObject().Count());
            Assert.Equal(offsets[1] - offsets[0], tensor.ByteLength);
            Assert.True(tensor.Memory.Span(tensor.ByteOffset, (int)tensor.ByteLength)
                .SequenceEqual(bytes.AsSpan(8 + headerLength + offsets[0], offsets[1] - offsets[0])));
            end = Math.Max(end, offsets[1]);
        }

        Assert.Equal(bytes.Length, 8 + headerLength + end);
    }
}
