using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>What a kernel found wrong with an operand's content, as in mamba/faults.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FaultRecord
{
    public int Kind;
    public int Reserved;
    public long Position;
    public long Value;
}

/// <summary>
/// The record that kernels report faults in: host memory that the device writes, so that looking costs no transfer. A kernel cannot throw,
/// so the exception comes when the host next waits for the stream.
/// </summary>
internal sealed class FaultReport : IDisposable
{
    // FaultKind of mamba/faults.cuh; what is none of these is a token id.
    private const int RowNumber = 1;
    private const int Target = 3;
    private const int Logit = 4;
    private const int NoToken = 5;
    private const int CacheLength = 6;

    private readonly PinnedMemory _memory;

    public FaultReport(CudaBackend backend)
    {
        _memory = backend.AllocatePinned(Marshal.SizeOf<FaultRecord>());
        _memory.Elements<byte>().Clear();
    }

    /// <summary>Where the device writes it.</summary>
    public nint DeviceAddress => _memory.DeviceAddress;

    /// <summary>Throws what was reported since it was last called. The stream must have been waited for.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An index or a token id was out of range.</exception>
    /// <exception cref="ArithmeticException">A logit was no number to choose a token by.</exception>
    public void ThrowIfAny()
    {
        ref FaultRecord record = ref _memory.Elements<FaultRecord>()[0];
        if (record.Kind != 0)
        {
            FaultRecord fault = record;
            record = default;
            if (fault.Kind is Logit or NoToken)
            {
                throw new ArithmeticException(
                    fault.Kind == Logit ? LogitFault.NotFinite(fault.Position, fault.Value) : LogitFault.NoToken(fault.Position));
            }

            throw new ArgumentOutOfRangeException(
                "args",
                (int)fault.Value,
                fault.Kind switch
                {
                    RowNumber => $"Index {fault.Position} is {fault.Value}, which is not a row of the source.",
                    Target => $"The target of row {fault.Position} is {fault.Value}, which is not in the vocabulary.",
                    CacheLength => AttentionFault.Length(fault.Position, fault.Value),
                    _ => $"Token {fault.Position} is {fault.Value}, which is not in the vocabulary.",
                });
        }
    }

    public void Dispose() => _memory.Dispose();
}
