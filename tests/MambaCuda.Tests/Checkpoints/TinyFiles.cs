using System.Buffers.Binary;
using System.Text;

namespace MambaCuda.Tests;

/// <summary>Small files made by the tests themselves, so that these run where there is no golden data.</summary>
internal static class TinyFiles
{
    /// <summary>A safetensors file of four tensors, one of them a scalar and one empty, with metadata.</summary>
    public static byte[] Safetensors() => Safetensors("""
        {"__metadata__":{"format":"pt","note":"tiny"},
        "weights":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},
        "scalar":{"dtype":"F32","shape":[],"data_offsets":[48,52]},
        "empty":{"dtype":"I64","shape":[0,7],"data_offsets":[52,52]},
        "half":{"dtype":"BF16","shape":[2,1,2],"data_offsets":[52,60]}}
        """, 60);

    /// <summary>A safetensors file of this header, and so many bytes of data.</summary>
    public static byte[] Safetensors(string header, int dataLength)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        byte[] file = new byte[8 + json.Length + dataLength];
        BinaryPrimitives.WriteInt64LittleEndian(file, json.Length);
        json.CopyTo(file, 8);
        for (int i = 0; i < dataLength; i++)
        {
            file[8 + json.Length + i] = (byte)(i * 37);
        }

        return file;
    }
}
