namespace MambaCuda.Training;

/// <summary>
/// Makes token files of texts: files, folders, JSON lines, standard input. Pieces become tokens on several threads and are written in the
/// order of the inputs, so the file is the same for any number of threads; memory is bounded whatever the size of the texts.
/// </summary>
public static class CorpusTokenizer
{
    // Pieces that wait for their turn while an earlier one is still being made.
    private const int PiecesPerThread = 2;

    /// <summary>Reads texts and appends their documents.</summary>
    /// <param name="inputs">Files, folders, or - for standard input, in the order of the result.</param>
    /// <param name="tokenizer">Makes the tokens.</param>
    /// <param name="options">How texts are read.</param>
    /// <param name="writer">Takes the documents; the caller completes it.</param>
    /// <param name="heldOut">Takes the documents that are held out; not null where <see cref="CorpusOptions.HeldOutEvery"/> is set.</param>
    /// <param name="standardInput">What - stands for, or null for the process's own.</param>
    /// <param name="progress">Told after each piece.</param>
    /// <param name="cancellation">Ends the reading between two pieces.</param>
    /// <returns>What was read and made.</returns>
    /// <exception cref="CorpusException">A text cannot be used.</exception>
    /// <exception cref="ArgumentException">The options do not fit the tokenizer or the writers.</exception>
    public static CorpusProgress Tokenize(
        IReadOnlyList<string> inputs,
        Tokenizer tokenizer,
        CorpusOptions options,
        TokenFileWriter writer,
        TokenFileWriter? heldOut = null,
        Stream? standardInput = null,
        IProgress<CorpusProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentOutOfRangeException.ThrowIfNegative(options.Threads, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegative(options.HeldOutEvery, nameof(options));
        if (options.EndDocuments && tokenizer.EndOfText is null)
        {
            throw new ArgumentException("The tokenizer has no token that ends a text; tokenize without one (--no-eos).", nameof(options));
        }

        if (options.HeldOutEvery > 0 != heldOut is not null)
        {
            throw new ArgumentException("Documents are held out every so many, and into a file: give both or neither.", nameof(heldOut));
        }

        List<string> files = CorpusFiles.Of(inputs, options);
        foreach (TokenFileWriter output in heldOut is null ? [writer] : new[] { writer, heldOut })
        {
            if (files.Find(file => Path.GetFullPath(file) == Path.GetFullPath(output.Path)) is { } same)
            {
                throw new CorpusException(same, "this is an input, and would be the output too", "Write to another file");
            }
        }

        CorpusDocuments documents = new(writer, heldOut, options.HeldOutEvery, TotalBytes(files), progress);
        Run(
            files.SelectMany(file => Pieces(file, options.Format, standardInput)),
            new CorpusEncoder(tokenizer, options),
            options.Threads == 0 ? Environment.ProcessorCount : options.Threads,
            documents,
            cancellation);
        return documents.Progress;
    }

    /// <summary>Makes tokens of pieces on several threads, and writes them in the order of the pieces.</summary>
    internal static void Run(
        IEnumerable<CorpusPiece> pieces, CorpusEncoder encoder, int threads, CorpusDocuments documents, CancellationToken cancellation)
    {
        TaskFactory workers = new(new ConcurrentExclusiveSchedulerPair(TaskScheduler.Default, threads).ConcurrentScheduler);
        Queue<(CorpusPiece Piece, Task<(List<int> Ids, List<int> Ends)> Tokens)> pending = [];
        long pendingBytes = 0;
        try
        {
            foreach (CorpusPiece piece in pieces)
            {
                // A line of JSON may be a hundred times as long as a piece: then fewer wait.
                pendingBytes += piece.Bytes.Length;
                while (pending.Count >= PiecesPerThread * threads
                    || (pending.Count > 0 && pendingBytes > (long)PiecesPerThread * threads * CorpusReader.PieceBytes))
                {
                    WriteNext();
                }

                pending.Enqueue((piece, workers.StartNew(() => encoder.Encode(piece), cancellation)));
            }

            while (pending.Count > 0)
            {
                WriteNext();
            }
        }
        finally
        {
            // Nothing of this goes on behind the caller's back, whatever has happened.
            foreach ((_, Task tokens) in pending)
            {
                ((IAsyncResult)tokens).AsyncWaitHandle.WaitOne();
            }
        }

        void WriteNext()
        {
            cancellation.ThrowIfCancellationRequested();
            (CorpusPiece piece, Task<(List<int> Ids, List<int> Ends)> tokens) = pending.Peek();
            (List<int> ids, List<int> ends) = tokens.GetAwaiter().GetResult();
            pending.Dequeue();
            pendingBytes -= piece.Bytes.Length;
            documents.Append(piece, ids, ends, encoder.EndOfDocument);
        }
    }

    private static long? TotalBytes(List<string> files)
    {
        long total = 0;
        foreach (string file in files)
        {
            if (file == CorpusFiles.StandardInput)
            {
                return null;
            }

            total += new FileInfo(file).Length;
        }

        return total;
    }

    private static IEnumerable<CorpusPiece> Pieces(string file, CorpusFormat format, Stream? standardInput)
    {
        string source = file == CorpusFiles.StandardInput ? "standard input" : file;
        using Stream stream = Opened();
        using IEnumerator<CorpusPiece> pieces = (CorpusFiles.HoldsJsonLines(file, format)
            ? CorpusReader.Lines(stream, source, CorpusReader.PieceBytes)
            : CorpusReader.Text(stream, source, CorpusReader.PieceBytes)).GetEnumerator();
        while (Next())
        {
            yield return pieces.Current;
        }

        Stream Opened()
        {
            try
            {
                return file != CorpusFiles.StandardInput
                    ? new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1, FileOptions.SequentialScan)
                    : standardInput ?? Console.OpenStandardInput();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw Unreadable(e);
            }
        }

        bool Next()
        {
            try
            {
                return pieces.MoveNext();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw Unreadable(e);
            }
        }

        CorpusException Unreadable(Exception e) => new(source, $"it cannot be read: {e.Message.TrimEnd('.')}", inner: e);
    }
}
