using System.Globalization;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Parts and operations as ranges of NVIDIA's profilers.</summary>
internal sealed class ToolTrace : IOperationTrace
{
    /// <summary>One, or null where the tools' library is not there.</summary>
    public static ToolTrace? TryCreate() => ToolRanges.AreAvailable ? new ToolTrace() : null;

    public void BeginPart(string name, int number)
    {
        if (number < 0)
        {
            ToolRanges.Push(name);
            return;
        }

        Span<char> text = stackalloc char[64];
        ToolRanges.Push(text.TryWrite(CultureInfo.InvariantCulture, $"{name} {number}", out int written) ? text[..written] : name);
    }

    public void EndPart() => ToolRanges.Pop();

    public void BeginOperation(string name, OperationWork work) => ToolRanges.Push(name);

    public void EndOperation() => ToolRanges.Pop();
}
