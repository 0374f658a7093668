using System.Buffers;
using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;

namespace MambaCuda.Training;

/// <summary>Makes the tokens of a piece. Many threads do so at once.</summary>
internal sealed class CorpusEncoder(Tokenizer tokenizer, CorpusOptions options)
{
    /// <summary>The id behind every document; null for none.</summary>
    public int? EndOfDocument { get; } = options.EndDocuments ? tokenizer.EndOfText : null;

    /// <summary>The tokens of a piece, and where in them documents end. The end of a text file is not among these.</summary>
    /// <exception cref="CorpusException">The piece is not UTF-8, or a line of it is no JSON object with the field.</exception>
    public (List<int> Ids, List<int> Ends) Encode(CorpusPiece piece)
    {
        List<int> ids = [], ends = [];
        if (!piece.IsJson)
        {
            Append(Decode(piece), ids, ends);
            return (ids, ends);
        }

        long number = piece.Position;
        foreach (Range range in piece.Bytes.AsSpan().Split((byte)'\n'))
        {
            ReadOnlyMemory<byte> line = piece.Bytes.AsMemory(range);
            if (line.Span.ContainsAnyExcept(" \t\r"u8))
            {
                int documents = ends.Count;
                Append(TextOf(line, piece.Source, number), ids, ends);
                if (ends.Count == documents || ids.Count > ends[^1])
                {
                    if (EndOfDocument is { } end)
                    {
                        ids.Add(end);
                    }

                    ends.Add(ids.Count);
                }
            }

            number++;
        }

        return (ids, ends);
    }

    private void Append(string text, List<int> ids, List<int> ends)
    {
        foreach (int id in tokenizer.Encode(text, addSpecialTokens: false, options.PlainText))
        {
            ids.Add(id);
            if (id == tokenizer.EndOfText)
            {
                ends.Add(ids.Count);
            }
        }
    }

    private static string Decode(CorpusPiece piece)
    {
        char[] characters = ArrayPool<char>.Shared.Rent(piece.Bytes.Length);
        OperationStatus status =
            Utf8.ToUtf16(piece.Bytes, characters, out int read, out int written, replaceInvalidSequences: false, isFinalBlock: true);
        string text = new(characters, 0, written);
        ArrayPool<char>.Shared.Return(characters);
        return status == OperationStatus.Done
            ? text
            : throw new CorpusException(
                piece.Source,
                string.Create(CultureInfo.InvariantCulture, $"byte {piece.Position + read:N0} is not UTF-8"),
                "Convert the file to UTF-8, or leave it out");
    }

    private string TextOf(ReadOnlyMemory<byte> line, string source, long number)
    {
        string place = string.Create(CultureInfo.InvariantCulture, $"line {number}");
        if (!Utf8.IsValid(line.Span))
        {
            throw new CorpusException(source, $"{place} is not UTF-8", "Convert the file to UTF-8");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new CorpusException(source, $"{place} is no JSON object");
            }

            if (!document.RootElement.TryGetProperty(options.Field, out JsonElement text))
            {
                string[] names = [.. document.RootElement.EnumerateObject().Select(property => property.Name.Quoted())];
                throw new CorpusException(
                    source,
                    $"{place} has no field {options.Field.Quoted()}",
                    names.Length == 0 ? null : $"It has {string.Join(", ", names)}; choose one with --field");
            }

            return text.ValueKind == JsonValueKind.String
                ? text.GetString()!
                : throw new CorpusException(source, $"field {options.Field.Quoted()} of {place} is no text but {text.ValueKind}");
        }
        catch (JsonException e)
        {
            // JSON counts lines from 0 within what it was given, which is just one.
            string column = string.Create(CultureInfo.InvariantCulture, $"{(e.BytePositionInLine ?? 0) + 1}");
            throw new CorpusException(source, $"{place} is not valid JSON (at its byte {column})", inner: e);
        }
        catch (InvalidOperationException e)
        {
            throw new CorpusException(source, $"{place} has half a surrogate pair (\\ud800 to \\udfff), which is no text", inner: e);
        }
    }
}
