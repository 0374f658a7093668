using System.Runtime.InteropServices;

namespace MambaCuda.Training;

/// <summary>Takes tokens in the order of the texts, ends documents, and deals every so many of them to the file that is held out.</summary>
internal sealed class CorpusDocuments(
    TokenFileWriter writer, TokenFileWriter? heldOut, int heldOutEvery, long? totalBytes, IProgress<CorpusProgress>? progress)
{
    private long _tokensOfDocument;
    private long _documentsBeforeFile;

    /// <summary>What was taken.</summary>
    public CorpusProgress Progress { get; private set; } = new(0, totalBytes, 0, 0);

    private TokenFileWriter Writer => heldOut is not null && Progress.Documents % heldOutEvery == heldOutEvery - 1 ? heldOut : writer;

    /// <summary>Appends the tokens of a piece.</summary>
    /// <param name="piece">The piece that was made into tokens.</param>
    /// <param name="ids">Its tokens.</param>
    /// <param name="ends">Where in them documents end.</param>
    /// <param name="endOfDocument">The id behind a document; null for none.</param>
    public void Append(CorpusPiece piece, List<int> ids, List<int> ends, int? endOfDocument)
    {
        ReadOnlySpan<int> tokens = CollectionsMarshal.AsSpan(ids);
        int start = 0;
        foreach (int end in ends)
        {
            Append(tokens[start..end]);
            EndDocument();
            start = end;
        }

        Append(tokens[start..]);
        if (!piece.IsJson && piece.EndsFile)
        {
            // A text that ends in the token that ends a text has no empty document behind it; a text without any token is a document.
            if (_tokensOfDocument > 0 || Progress.Documents == _documentsBeforeFile)
            {
                Append(endOfDocument is { } id ? [id] : []);
                EndDocument();
            }

            _documentsBeforeFile = Progress.Documents;
        }
        else if (piece.IsJson)
        {
            _documentsBeforeFile = Progress.Documents;
        }

        Progress = Progress with { BytesRead = Progress.BytesRead + piece.Bytes.Length };
        progress?.Report(Progress);
    }

    private void Append(ReadOnlySpan<int> tokens)
    {
        Writer.Append(tokens);
        _tokensOfDocument += tokens.Length;
        Progress = Progress with { Tokens = Progress.Tokens + tokens.Length };
    }

    private void EndDocument()
    {
        Writer.EndDocument();
        _tokensOfDocument = 0;
        Progress = Progress with { Documents = Progress.Documents + 1 };
    }
}
