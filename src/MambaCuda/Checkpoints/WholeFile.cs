namespace MambaCuda;

/// <summary>Writes one file so that its name always stands for the old one or the whole new one.</summary>
internal static class WholeFile
{
    /// <summary>Writes a file beside the one meant, and moves it there.</summary>
    /// <exception cref="IOException">It cannot be written; the old one is untouched.</exception>
    /// <exception cref="UnauthorizedAccessException">The same.</exception>
    public static void Write(string path, params IReadOnlyList<ReadOnlyMemory<byte>> parts)
    {
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        try
        {
            using (FileStream file = new(temporary, FileMode.Create, FileAccess.Write))
            {
                foreach (ReadOnlyMemory<byte> part in parts)
                {
                    file.Write(part.Span);
                }

                file.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }
    }
}
