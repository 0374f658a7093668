using System.Buffers.Binary;
using System.Security.Cryptography;
using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// The file of the optimizer's moments, little-endian: magic "MCADAMW\0", int64 steps taken, int64 number of values, the values (float32:
/// the first moments, then the second, in the order of <see cref="ParameterLayout"/>), SHA-256 of all that stands before.
/// </summary>
internal static class MomentsFormat
{
    private const int HeaderLength = 24;
    private const long PieceRows = 1 << 14;

    private static ReadOnlySpan<byte> Magic => "MCADAMW\0"u8;

    public static void Write(string path, Trainer trainer)
    {
        using FileStream file = new(path, FileMode.CreateNew);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(Header(trainer, trainer.StepsDone));
        foreach (MatrixView piece in Pieces(trainer))
        {
            byte[] bytes = new byte[piece.Rows * piece.Columns * sizeof(float)];
            trainer.Model.Backend.Download<byte>(piece, bytes);
            Append(bytes);
        }

        file.Write(hash.GetHashAndReset());
        file.Flush(flushToDisk: true);

        void Append(byte[] bytes)
        {
            hash.AppendData(bytes);
            file.Write(bytes);
        }
    }

    public static void Read(string path, Trainer trainer, long steps)
    {
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read);
            using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            byte[] expected = Header(trainer, steps), header = Take(HeaderLength);
            if (!header.AsSpan().SequenceEqual(expected))
            {
                throw new CheckpointException(
                    path, "these are not the moments of this model at this step", "Resume from another checkpoint");
            }

            foreach (MatrixView piece in Pieces(trainer))
            {
                trainer.Model.Backend.Upload<byte>(Take(checked((int)(piece.Rows * piece.Columns * sizeof(float)))), piece);
            }

            byte[] actual = hash.GetHashAndReset(), stored = new byte[SHA256.HashSizeInBytes];
            file.ReadExactly(stored);
            if (!actual.AsSpan().SequenceEqual(stored) || file.Position != file.Length)
            {
                throw new CheckpointException(path, "the checksum does not agree", "The file is damaged; resume from another checkpoint");
            }

            byte[] Take(int count)
            {
                byte[] bytes = new byte[count];
                file.ReadExactly(bytes);
                hash.AppendData(bytes);
                return bytes;
            }
        }
        catch (IOException exception)
        {
            throw new CheckpointException(
                path, $"the optimizer's moments cannot be read: {exception.Message.TrimEnd('.')}", "Resume from another checkpoint", exception);
        }
    }

    private static byte[] Header(Trainer trainer, long steps)
    {
        byte[] header = new byte[HeaderLength];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(8), steps);
        MatrixView moments = trainer.Optimizer.Moments;
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), moments.Rows * moments.Columns);
        return header;
    }

    private static IEnumerable<MatrixView> Pieces(Trainer trainer)
    {
        MatrixView moments = trainer.Optimizer.Moments;
        for (long row = 0; row < moments.Rows; row += PieceRows)
        {
            yield return moments.RowRange(row, Math.Min(PieceRows, moments.Rows - row));
        }
    }
}
