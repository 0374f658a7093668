using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>Copies tensors one after the other into files, converted piece by piece to the type that the plan says.</summary>
internal sealed class TensorStream(
    SavePlan plan,
    Func<ExpectedTensor, StoredTensor> tensors,
    string directory,
    IProgress<CheckpointProgress>? progress,
    CancellationToken cancellationToken)
{
    private const int PieceElements = 1 << 20;

    private readonly byte[] _piece = new byte[PieceElements * sizeof(float)];
    private readonly float[] _scratch = new float[PieceElements];
    private long _done;

    /// <summary>Copies a tensor.</summary>
    /// <exception cref="CheckpointException">It is not what was planned, or holds a number that its new type cannot hold.</exception>
    public void CopyTo(Stream stream, PlannedTensor planned)
    {
        StoredTensor tensor = plan.Known.GetValueOrDefault(planned.Name) ?? tensors(planned.Expected);
        if (!tensor.Shape.SequenceEqual(planned.Expected.Shape) || !planned.Expected.Takes(tensor.Type))
        {
            throw Refused($"{tensor} cannot be saved as {planned.Expected}");
        }

        int from = tensor.Type.Size(), to = planned.Type.Size();
        for (long start = 0; start < tensor.ElementCount; start += PieceElements)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int count = (int)Math.Min(PieceElements, tensor.ElementCount - start);
            ReadOnlySpan<byte> source = tensor.Memory.Span(tensor.ByteOffset + (start * from), count * from);
            int lost = WeightConversion.Convert(source, tensor.Type, _piece.AsSpan(0, count * to), planned.Type, _scratch);
            if (lost >= 0)
            {
                throw Refused(string.Create(CultureInfo.InvariantCulture,
                    $"element {start + lost} of {tensor} is too large for {planned.Type}"), "Choose BFloat16 or Float32");
            }

            stream.Write(_piece, 0, count * to);
            _done += count * to;
            progress?.Report(new CheckpointProgress(_done, plan.TotalBytes, planned.Name));
        }
    }

    private CheckpointException Refused(string problem, string? remedy = null) => new(directory, problem, remedy);
}
