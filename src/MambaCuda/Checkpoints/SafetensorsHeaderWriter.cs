using System.Buffers;
using System.Buffers.Binary;
using System.Text.Json;

namespace MambaCuda;

/// <summary>
/// Writes the header of a safetensors file. Spaces fill it up so that the data begins at a multiple of a cache line, and the tensors of
/// wider types come first where types are mixed, so that every element of the mapped file is aligned.
/// </summary>
internal static class SafetensorsHeaderWriter
{
    private const int Alignment = 64;
    private const int LengthBytes = 8;

    /// <summary>Everything that stands before the data of the tensors, which follow in the given order.</summary>
    public static byte[] Write(IReadOnlyList<PlannedTensor> tensors)
    {
        ArrayBufferWriter<byte> json = new();
        using (Utf8JsonWriter writer = new(json))
        {
            writer.WriteStartObject();

            // Without it transformers refuses the file.
            writer.WriteStartObject("__metadata__");
            writer.WriteString("format", "pt");
            writer.WriteEndObject();
            long start = 0;
            foreach (PlannedTensor tensor in tensors)
            {
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", SafetensorsTypes.Name(tensor.Type));
                writer.WriteStartArray("shape");
                foreach (long size in tensor.Expected.Shape)
                {
                    writer.WriteNumberValue(size);
                }

                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(start);
                writer.WriteNumberValue(start += tensor.ByteLength);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        int length = (json.WrittenCount + LengthBytes + Alignment - 1) / Alignment * Alignment;
        byte[] header = new byte[length];
        header.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteInt64LittleEndian(header, length - LengthBytes);
        json.WrittenSpan.CopyTo(header.AsSpan(LengthBytes));
        return header;
    }
}
