using System.Text;

namespace MambaCuda.Tests;

/// <summary>Tokenizers on small files: what they make of text, and what they refuse.</summary>
public sealed class TokenizerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;

    [Fact]
    public void Bytes_are_ids_and_come_back()
    {
        Tokenizer tokenizer = Load("""{ "type": "byte", "end_of_text": 0 }""");
        const string Text = "héllo 😀";
        Assert.Equal(Encoding.UTF8.GetBytes(Text).Select(value => (int)value), tokenizer.Encode(Text));
        Assert.Equal(Text, tokenizer.Decode(tokenizer.Encode(Text)));
        Assert.Equal(0, tokenizer.EndOfText);
        Assert.Equal(256, tokenizer.VocabularySize);
    }

    [Fact]
    public void A_stream_never_ends_within_a_character()
    {
        Tokenizer tokenizer = new ByteTokenizer(0);
        StreamingDecoder decoder = new(tokenizer, skipSpecial: true);
        Assert.Equal(["", "", "", "😀"], tokenizer.Encode("😀").Select(decoder.Append));
        Assert.Equal("", decoder.Append(0xF0));
        Assert.Equal("\uFFFD", decoder.Flush());
    }

    [Fact]
    public void Merges_go_by_rank_and_the_leftmost_first()
    {
        Tokenizer tokenizer = Load(File("\"aa a\", \"a a\"", """ "a": 0, "aa": 1, "aaa": 2, "b": 3 """));
        Assert.Equal([2], tokenizer.Encode("aaa"));
        Assert.Equal([2, 0, 3], tokenizer.Encode("aaaab"));
    }

    [Fact]
    public void Added_tokens_follow_their_flags()
    {
        Tokenizer tokenizer = Load(File(
            "",
            """ "a": 0, "b": 1, "Ġ": 2 """,
            """
            { "id": 10, "content": "<x>", "special": true, "lstrip": true, "rstrip": false, "normalized": false, "single_word": false },
            { "id": 11, "content": "ab", "special": false, "lstrip": false, "rstrip": false, "normalized": true, "single_word": true }
            """));
        Assert.Equal([0, 10, 2, 1], tokenizer.Encode("a  <x> b"));
        Assert.Equal([11, 2, 0, 1, 0], tokenizer.Encode("ab aba"));
        Assert.Equal("a", tokenizer.Decode([0, 10], skipSpecial: true));
        Assert.True(tokenizer.IsSpecial(10));
        Assert.Equal([0], tokenizer.Encode("<a", plainText: true));
    }

    [Fact]
    public void A_very_long_word_takes_time_in_proportion_to_its_length()
    {
        Tokenizer tokenizer = Load(File("\"a a\", \"aa aa\"", """ "a": 0, "aa": 1, "aaaa": 2 """));
        Assert.Equal(1 << 18, tokenizer.Encode(new string('a', 1 << 20)).Length);
    }

    [Theory]
    [InlineData("""{ "type": "word" }""", "word")]
    [InlineData("""{ "type": "byte", "end_of_text": -1 }""", "end_of_text")]
    [InlineData("""{ "type": "byte", "other": 1 }""", "other")]
    [InlineData("""{ "type": "byte", "type": "byte" }""", "JSON")]
    [InlineData("""{ "version": "1.0" }""", "model")]
    [InlineData("[1, 2", "JSON")]
    public void What_is_wrong_is_named(string json, string named)
    {
        TokenizerException refused = Assert.Throws<TokenizerException>(() => Load(json));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.json", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"a z\"", """ "a": 0 """, "merge 0")]
    [InlineData("\"az\"", """ "a": 0 """, "merge 0")]
    [InlineData("", """ "a": 0, "b": 0 """, "twice")]
    [InlineData("", """ "a": -1 """, "-1")]
    [InlineData("", """ "a": 4000000000 """, "whole number")]
    public void A_vocabulary_that_does_not_hold_together_is_refused(string merges, string vocabulary, string named)
    {
        TokenizerException refused = Assert.Throws<TokenizerException>(() => Load(File(merges, vocabulary)));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_is_named_with_the_way_out()
    {
        TokenizerException refused = Assert.Throws<TokenizerException>(() => Tokenizer.Load(Path.Combine(_folder, "nowhere")));
        Assert.Contains("nowhere", refused.Message, StringComparison.Ordinal);
        Assert.NotNull(refused.Remedy);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string File(string merges, string vocabulary, string added = "") => $$"""
        {
          "version": "1.0", "truncation": null, "padding": null, "added_tokens": [{{added}}], "normalizer": { "type": "NFC" },
          "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true },
          "post_processor": null, "decoder": { "type": "ByteLevel" },
          "model": { "type": "BPE", "dropout": null, "vocab": { {{vocabulary}} }, "merges": [{{merges}}] }
        }
        """;

    private Tokenizer Load(string json)
    {
        System.IO.File.WriteAllText(Path.Combine(_folder, "tokenizer.json"), json);
        return Tokenizer.Load(_folder);
    }
}
