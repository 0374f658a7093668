using System.Globalization;
using System.Runtime.CompilerServices;

namespace MambaCuda.Driver;

/// <summary>An interpolated string that is built only where a call failed, so that calls that succeed allocate nothing.</summary>
[InterpolatedStringHandler]
internal ref struct ActionText
{
    private DefaultInterpolatedStringHandler _text;

    public ActionText(int literalLength, int formattedCount, CudaError error, out bool isNeeded)
    {
        isNeeded = error != CudaError.Success;
        _text = isNeeded ? new DefaultInterpolatedStringHandler(literalLength, formattedCount, CultureInfo.InvariantCulture) : default;
    }

    public void AppendLiteral(string text) => _text.AppendLiteral(text);

    public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

    public void AppendFormatted<T>(T value, string? format) => _text.AppendFormatted(value, format);

    public string ToStringAndClear() => _text.ToStringAndClear();
}
