using System.Runtime.InteropServices;
using System.Text;

namespace MambaCuda.Driver;

/// <summary>Texts as the C arrays of zero-terminated UTF-8 that NVRTC takes; valid until disposed.</summary>
internal sealed unsafe class Utf8Texts : IDisposable
{
    private byte** _pointers;

    public Utf8Texts(IEnumerable<string> texts)
    {
        string[] all = [.. texts];
        foreach (string text in all.Where(text => text.Contains('\0', StringComparison.Ordinal)))
        {
            throw new ArgumentException(
                $"A text holds a zero character, where C ends it: {text[..Math.Min(40, text.Length)]}", nameof(texts));
        }

        Count = all.Length;
        _pointers = (byte**)NativeMemory.AllocZeroed((nuint)Math.Max(Count, 1), (nuint)sizeof(byte*));
        for (int i = 0; i < Count; i++)
        {
            int length = Encoding.UTF8.GetByteCount(all[i]);
            _pointers[i] = (byte*)NativeMemory.Alloc((nuint)length + 1);
            Encoding.UTF8.GetBytes(all[i], new Span<byte>(_pointers[i], length));
            _pointers[i][length] = 0;
        }
    }

    public int Count { get; }

    public byte** Pointers => _pointers;

    public byte* this[int index] => _pointers[index];

    public void Dispose()
    {
        for (int i = 0; _pointers != null && i < Count; i++)
        {
            NativeMemory.Free(_pointers[i]);
        }

        NativeMemory.Free(_pointers);
        _pointers = null;
    }
}
