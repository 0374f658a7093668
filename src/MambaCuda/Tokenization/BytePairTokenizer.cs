using System.Buffers;
using System.Text;

namespace MambaCuda;

/// <summary>
/// A byte-level byte pair tokenizer as Hugging Face <c>tokenizers</c> describe one: added tokens are cut out first, the rest is normalized,
/// cut into words, and each word's bytes are merged. The ids are those of that library; made by <see cref="Tokenizer.Load"/>.
/// </summary>
public sealed class BytePairTokenizer : Tokenizer
{
    private readonly BytePairParts _parts;
    private readonly AddedTokenMatcher _rawMatcher;
    private readonly AddedTokenMatcher _normalizedMatcher;
    private readonly byte[]?[] _bytes;
    private readonly HashSet<int> _special;

    internal BytePairTokenizer(BytePairParts parts, int? endOfText)
    {
        _parts = parts;
        EndOfText = endOfText;
        _rawMatcher = new AddedTokenMatcher(parts.AddedTokens.Where(token => !token.Normalized).Select(token => (token.Content, token)));
        _normalizedMatcher = new AddedTokenMatcher(
            parts.AddedTokens.Where(token => token.Normalized).Select(token => (Normalize(token.Content), token))
                .DistinctBy(entry => entry.Item1));
        _special = [.. parts.AddedTokens.Where(token => token.Special).Select(token => token.Id)];
        _bytes = new byte[]?[parts.Ids.Values.Concat(parts.AddedTokens.Select(token => token.Id)).DefaultIfEmpty(-1).Max() + 1];
        foreach ((string token, int id) in parts.Ids)
        {
            _bytes[id] = ByteLevelAlphabet.TokenBytes(token);
        }

        foreach (AddedToken token in parts.AddedTokens)
        {
            _bytes[token.Id] = ByteLevelAlphabet.TokenBytes(token.Content);
        }
    }

    /// <inheritdoc/>
    public override int VocabularySize => _bytes.Length;

    /// <inheritdoc/>
    public override int? EndOfText { get; }

    /// <inheritdoc/>
    public override int[] Encode(string text, bool addSpecialTokens = true, bool plainText = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        List<int> ids = [.. addSpecialTokens ? _parts.Before : []];
        string valid = WithoutLoneSurrogates(text);
        foreach (AddedTokenMatcher.Part part in _rawMatcher.Split(valid, plainText))
        {
            if (part.Token is { } token)
            {
                ids.Add(token.Id);
            }
            else
            {
                EncodeNormalized(Normalize(valid[part.Start..part.End]), plainText, ids);
            }
        }

        ids.AddRange(addSpecialTokens ? _parts.After : []);
        return [.. ids];
    }

    /// <inheritdoc/>
    public override int? TokenId(string token)
    {
        ArgumentNullException.ThrowIfNull(token);
        return _parts.AddedTokens.FirstOrDefault(added => added.Content == token)?.Id
            ?? (_parts.Ids.TryGetValue(token, out int id) ? id : null);
    }

    /// <inheritdoc/>
    public override bool IsSpecial(int id) => _special.Contains(id);

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> TokenBytes(int id) => (uint)id < (uint)_bytes.Length ? _bytes[id] : [];

    private static string WithoutLoneSurrogates(string text)
    {
        ReadOnlySpan<char> rest = text;
        int at = rest.IndexOfAnyInRange('\uD800', '\uDFFF');
        return at < 0 ? text : Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
    }

    private string Normalize(string text) => _parts.NormalizesToC ? CanonicalComposition.Normalize(text) : text;

    private void EncodeNormalized(string text, bool plainText, List<int> ids)
    {
        foreach (AddedTokenMatcher.Part part in _normalizedMatcher.Split(text, plainText))
        {
            if (part.Token is { } token)
            {
                ids.Add(token.Id);
            }
            else if (_parts.PreTokenizers is [ByteLevelPreTokenizer only])
            {
                EncodeWords(only, text[part.Start..part.End], ids);
            }
            else
            {
                EncodeInSteps(text[part.Start..part.End], ids);
            }
        }
    }

    /// <summary>The usual case: words go to the model as bytes, without being spelled first.</summary>
    private void EncodeWords(ByteLevelPreTokenizer preTokenizer, string piece, List<int> ids)
    {
        ReadOnlySpan<char> rest = preTokenizer.Prefixed(piece);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(rest.Length));
        while (!rest.IsEmpty)
        {
            int length = preTokenizer.FirstWord(rest);
            int bytes = Encoding.UTF8.GetBytes(rest[..length], buffer);
            _parts.Model.Encode(buffer.AsSpan(0, bytes), ids);
            rest = rest[length..];
        }

        ArrayPool<byte>.Shared.Return(buffer);
    }

    private void EncodeInSteps(string piece, List<int> ids)
    {
        List<string> pieces = piece.Length > 0 ? [piece] : [];
        foreach (PreTokenizer step in _parts.PreTokenizers)
        {
            List<string> cut = [];
            foreach (string part in pieces)
            {
                step.Split(part, cut);
            }

            pieces = cut;
        }

        foreach (string word in pieces)
        {
            _parts.Model.Encode(ByteLevelAlphabet.TokenBytes(word), ids);
        }
    }
}
