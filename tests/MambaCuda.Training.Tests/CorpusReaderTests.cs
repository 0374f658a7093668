using System.Text;
using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>Files cut into pieces: nothing is lost, no character is cut, and the tokens are those of the whole text.</summary>
public sealed class CorpusReaderTests
{
    public static TheoryData<string> Texts => new()
    {
        "", "a", "12345678", "123456789", "        ", "\n\n\n\n\n\n\n\n\n", "words of several lengths and 1 2 3 numbers",
        "Grüße aus Köln, ein Satz mit Umlauten äöü", "日本語の文章には空白がありません。それでも切れます。", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
        "lines\nand lines\r\nand  more   spaces \n\n then \t tabs", "\ufeffwith a mark at its start", "\ufeff",
    };

    [Theory]
    [MemberData(nameof(Texts))]
    public void Pieces_of_text_are_whole_characters_and_make_the_whole(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        for (int size = 8; size <= bytes.Length + 2; size++)
        {
            CorpusPiece[] pieces = [.. CorpusReader.Text(new Dribble(bytes), "source", size)];
            Assert.Equal(text.TrimStart('\ufeff'), string.Concat(pieces.Select(piece => Strict.GetString(piece.Bytes))));
            Assert.All(pieces[..^1], piece => Assert.False(piece.EndsFile));
            Assert.True(pieces[^1].EndsFile);
            Assert.All(pieces, piece =>
            {
                Assert.InRange(piece.Bytes.Length, 0, size);
                Assert.Equal(piece.Bytes, bytes[(int)piece.Position..][..piece.Bytes.Length]);
            });
        }
    }

    [Theory]
    [InlineData("one\ntwo\nthree"), InlineData("one\n"), InlineData("\n\n\n"), InlineData(""), InlineData("a long line and nothing else")]
    [InlineData("a long line\nx\n\nanother long line of all\ny\n")]
    public void Pieces_of_lines_are_whole_lines_and_know_their_numbers(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        for (int size = 1; size <= bytes.Length + 2; size++)
        {
            CorpusPiece[] pieces = [.. CorpusReader.Lines(new Dribble(bytes), "source", size)];
            string before = "";
            foreach (CorpusPiece piece in pieces)
            {
                Assert.NotEmpty(piece.Bytes);
                Assert.True(before.Length == 0 || before[^1] == '\n');
                Assert.Equal(1 + before.Count(character => character == '\n'), piece.Position);
                before += Encoding.UTF8.GetString(piece.Bytes);
            }

            Assert.Equal(text, before);
        }
    }

    /// <summary>With the public models' own tokenizer, where it is among the golden data.</summary>
    [Fact]
    public void Tokens_of_pieces_are_those_of_the_whole_text()
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        Tokenizer tokenizer = Tokenizer.Load(Path.Combine(Fixtures.Root!, "tokenizer", "gpt-neox-20b"));
        string text = string.Concat(Enumerable.Repeat(
            "The  quick\n\n brown fox,\r\n\r\njumps 123 4567 over   it's lazy\tdog.\n    code(x) { return 'y'; }\n", 20));
        CorpusEncoder encoder = new(tokenizer, new CorpusOptions { EndDocuments = false });
        int[] whole = tokenizer.Encode(text, addSpecialTokens: false);
        for (int size = 60; size < 200; size += 7)
        {
            CorpusPiece[] pieces = [.. CorpusReader.Text(new MemoryStream(Encoding.UTF8.GetBytes(text)), "source", size)];
            Assert.True(pieces.Length > 5);
            Assert.Equal(whole, pieces.SelectMany(piece => encoder.Encode(piece).Ids));
        }
    }

    private static UTF8Encoding Strict { get; } = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Gives a few bytes at a time, as a pipe may.</summary>
    private sealed class Dribble(byte[] bytes) : MemoryStream(bytes)
    {
        public override int Read(Span<byte> buffer) => base.Read(buffer[..Math.Min(buffer.Length, 3)]);

        public override int Read(byte[] buffer, int offset, int count) => base.Read(buffer, offset, Math.Min(count, 3));
    }
}
