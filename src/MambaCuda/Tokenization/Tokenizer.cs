using System.Buffers;
using System.Text;

namespace MambaCuda;

/// <summary>
/// Turns text into token ids and ids into text. Every token stands for bytes of UTF-8, so that text comes back by joining the bytes of its
/// tokens. Instances do not change once made: one serves any number of threads.
/// </summary>
public abstract class Tokenizer
{
    /// <summary>One more than the highest id. A model may have more rows than this (padding); ids beyond have no text.</summary>
    public abstract int VocabularySize { get; }

    /// <summary>The token that ends a text, where the files name one: generation stops at it.</summary>
    public abstract int? EndOfText { get; }

    /// <summary>The ids of a text. Unpaired surrogates count as U+FFFD, as conversion to UTF-8 makes of them.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether to add the tokens that the files want around every text, such as one that begins it.</param>
    /// <param name="plainText">
    /// Whether special tokens that are spelled out in the text, such as &lt;|endoftext|&gt;, are taken as plain text.
    /// Set it for text from someone who must not steer the model.
    /// </param>
    public abstract int[] Encode(string text, bool addSpecialTokens = true, bool plainText = false);

    /// <summary>The id of a token as the files spell it (byte-level tokenizers spell a space "Ġ"), or null where there is none.</summary>
    public abstract int? TokenId(string token);

    /// <summary>Whether it is a special token: one that marks structure and that is left out of text for people.</summary>
    public abstract bool IsSpecial(int id);

    /// <summary>The bytes of UTF-8 that the token stands for, perhaps a part of a character; empty where there is no such token.</summary>
    public abstract ReadOnlySpan<byte> TokenBytes(int id);

    /// <summary>
    /// The text of the ids. Bytes that are not UTF-8 become U+FFFD, one for each maximal part of a character. Ids without a token have no
    /// text.
    /// </summary>
    /// <param name="ids">The ids.</param>
    /// <param name="skipSpecial">Whether special tokens are left out.</param>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecial = false)
    {
        var bytes = new ArrayBufferWriter<byte>(Math.Max(16, ids.Length * 4));
        foreach (int id in ids)
        {
            if (!skipSpecial || !IsSpecial(id))
            {
                bytes.Write(TokenBytes(id));
            }
        }

        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    /// <summary>
    /// Loads the tokenizer of a model: a <c>tokenizer.json</c> of the Hugging Face <c>tokenizers</c> format with a byte-level BPE model
    /// (<see cref="BytePairTokenizer"/>), or of the byte form (<see cref="ByteTokenizer"/>). Beside it, <c>tokenizer_config.json</c> may
    /// name the token that ends a text.
    /// </summary>
    /// <param name="path">The file, or the folder that it lies in.</param>
    /// <exception cref="TokenizerException">There is none, or it cannot be used; the message says which file, what and the way
    /// out.</exception>
    public static Tokenizer Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return TokenizerFile.Load(path);
    }
}
