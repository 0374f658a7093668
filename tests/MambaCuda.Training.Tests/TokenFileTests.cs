using System.Buffers.Binary;
using System.IO.Hashing;
using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>What is written comes back; nothing half-written is ever seen; nothing damaged is accepted.</summary>
public sealed class TokenFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<int, int[]> Files => new()
    {
        { 1 << 16, [3, 0, 1, 70_000] },
        { (1 << 16) + 1, [3, 0, 1, 70_001] },
        { 1, [1] },
        { 7, [0] },
        { 7, [0, 0, 2, 0] },
        { 7, [] },
        { int.MaxValue, [2, 5] },
        { 300, [200_000, 1] },
    };

    [Theory]
    [MemberData(nameof(Files))]
    public void Documents_come_back_as_they_were_written(int vocabularySize, int[] lengths)
    {
        using TokenFile file = TokenFile.Open(TinyTokens.Write(_folder, vocabularySize, lengths));
        Assert.Equal(
            (vocabularySize, vocabularySize <= 65536 ? 2 : 4, 0, (long)lengths.Sum(), (long)lengths.Length),
            (file.VocabularySize, file.TokenWidth, file.EndOfDocument, file.TokenCount, file.DocumentCount));
        Assert.Equal(TinyTokens.Fingerprint, file.Fingerprint);
        long start = 0;
        for (int i = 0; i < lengths.Length; i++)
        {
            TokenRange document = file.Document(i);
            Assert.Equal(new TokenRange(start, lengths[i]), document);
            int[] ids = new int[lengths[i]];
            file.Read(document.Start, ids);
            Assert.Equal(Enumerable.Range((int)start, lengths[i]).Select(id => id % vocabularySize), ids);
            for (long token = start; token < start + lengths[i]; token += Math.Max(1, lengths[i] - 1))
            {
                Assert.Equal(i, file.DocumentOf(token));
            }

            start += lengths[i];
        }

        file.Verify(TestContext.Current.CancellationToken);
        Assert.Single(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void A_range_beyond_the_file_is_refused()
    {
        using TokenFile file = TokenFile.Open(TinyTokens.Write(_folder, 10, 4, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(5, new int[2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(0, new int[7]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(-1, new int[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Document(2));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.DocumentOf(6));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Slice(3, 4));
        file.Read(6, []);
    }

    [Fact]
    public void Nothing_is_left_of_a_file_that_was_not_completed()
    {
        string path = TinyTokens.Write(_folder, 10, 3);
        byte[] before = File.ReadAllBytes(path);
        using (TokenFileWriter writer = new(path, 10, TinyTokens.Fingerprint, replace: true))
        {
            writer.Append([1, 2, 3]);
            writer.EndDocument();
            Assert.Equal(before, File.ReadAllBytes(path));
            Assert.Throws<ArgumentOutOfRangeException>(() => writer.Append([1, 10]));
            Assert.Throws<ArgumentOutOfRangeException>(() => writer.Append([-1]));
        }

        Assert.Equal([path], Directory.GetFiles(_folder.Path));
        Assert.Equal(before, File.ReadAllBytes(path));
    }

    [Fact]
    public void A_document_that_was_not_ended_is_not_lost_in_silence()
    {
        using TokenFileWriter writer = new(_folder.File("a"), 10, TinyTokens.Fingerprint);
        writer.Append([1]);
        Assert.Contains("EndDocument", Assert.Throws<InvalidOperationException>(writer.Complete).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_is_replaced_only_where_that_is_wanted()
    {
        string path = TinyTokens.Write(_folder, 10, 3);
        TokenFileException refused = Assert.Throws<TokenFileException>(() => new TokenFileWriter(path, 10, TinyTokens.Fingerprint));
        Assert.Contains("--force", refused.Message, StringComparison.Ordinal);

        // Another may come first after the writer has begun.
        string other = _folder.File("other");
        using TokenFileWriter writer = new(other, 10, TinyTokens.Fingerprint);
        File.WriteAllText(other, "kept");
        Assert.Equal(other, Assert.Throws<TokenFileException>(writer.Complete).Path);
        writer.Dispose();
        Assert.Equal("kept", File.ReadAllText(other));
        Assert.Equal(2, Directory.GetFiles(_folder.Path).Length);
    }

    [Fact]
    public void A_folder_that_is_not_there_is_named()
    {
        string path = Path.Combine(_folder.Path, "nowhere", "a");
        Assert.Contains(
            "nowhere", Assert.Throws<TokenFileException>(() => new TokenFileWriter(path, 10, TinyTokens.Fingerprint)).Message,
            StringComparison.Ordinal);
        Assert.Contains("tokenize", Assert.Throws<TokenFileException>(() => TokenFile.Open(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tokens_of_another_tokenizer_are_refused()
    {
        string path = _folder.File("bytes");
        using (TokenFileWriter writer = new(path, new ByteTokenizer(0)))
        {
            writer.Complete();
        }

        using TokenFile file = TokenFile.Open(path);
        file.CheckMadeBy(new ByteTokenizer(0));
        Assert.Throws<TokenFileException>(() => file.CheckMadeBy(new ByteTokenizer()));
        Assert.Throws<TokenFileException>(() => file.CheckMadeBy(new ByteTokenizer(256)));
    }

    /// <summary>Each damage is made with a header checksum that fits, so that it reaches the check that is meant.</summary>
    [Theory]
    [InlineData("version 9", 8, 9, 4), InlineData("takes 4 bytes", 12, 4, 4), InlineData("takes 3 bytes", 12, 3, 4)]
    [InlineData("vocabulary of 0", 16, 0, 4), InlineData("not in the vocabulary of 10", 20, 10, 4)]
    [InlineData("not in the vocabulary", 20, -2, 4), InlineData("9 tokens", 24, 9, 8), InlineData("2 documents", 32, 2, 8)]
    [InlineData("tokens", 24, long.MaxValue, 8), InlineData("tokens", 24, -1, 8), InlineData("documents", 32, -5, 8)]
    [InlineData("documents", 32, long.MaxValue, 8), InlineData("tokens", 24, 0x4000_0000_0000_0000, 8)]
    [InlineData("document 0 ends at token 7", 112, 7, 8), InlineData("document 1 ends at token 1", 120, 1, 8)]
    [InlineData("document 0 ends at token -1", 112, -1, 8), InlineData("last document ends at token 5", 128, 5, 8)]
    [InlineData("last document ends at token 6", 24, 7, 8)]
    public void Damage_is_named_when_the_file_is_opened(string expected, int at, long value, int width)
    {
        byte[] bytes = File.ReadAllBytes(TinyTokens.Write(_folder, 10, 2, 3, 1));
        Span<byte> place = bytes.AsSpan(at, width);
        if (width == 4)
        {
            BinaryPrimitives.WriteInt32LittleEndian(place, (int)value);
        }
        else
        {
            BinaryPrimitives.WriteInt64LittleEndian(place, value);
        }

        string path = _folder.Write("damaged", WithHeaderChecksum(bytes));
        TokenFileException refused = Assert.Throws<TokenFileException>(() => TokenFile.Open(path));
        Assert.Contains(expected, refused.Message, StringComparison.Ordinal);
        Assert.Contains(path, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_of_any_other_length_is_refused()
    {
        byte[] bytes = File.ReadAllBytes(TinyTokens.Write(_folder, 10, 2, 3, 1));
        for (int length = 0; length < bytes.Length; length++)
        {
            string path = _folder.Write("cut", bytes.AsSpan(0, length));
            Assert.Throws<TokenFileException>(() => TokenFile.Open(path));
        }

        string longer = _folder.Write("longer", [.. bytes, 0]);
        Assert.Throws<TokenFileException>(() => TokenFile.Open(longer));
    }

    [Fact]
    public void Verification_finds_every_flipped_bit()
    {
        byte[] bytes = File.ReadAllBytes(TinyTokens.Write(_folder, 60_000, 2, 3, 1));
        for (int bit = 0; bit < bytes.Length * 8; bit++)
        {
            byte[] damaged = [.. bytes];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            string path = _folder.Write("damaged", damaged);
            Assert.Throws<TokenFileException>(() => OpenAndVerify(path));
        }
    }

    [Fact]
    public void An_id_outside_the_vocabulary_is_found_by_reading_and_by_verification()
    {
        byte[] bytes = File.ReadAllBytes(TinyTokens.Write(_folder, 10, 6));
        bytes[96 + 4] = 10;
        string path = _folder.Write("damaged", bytes);
        using TokenFile file = TokenFile.Open(path);
        Assert.Contains("the id 10", Assert.Throws<TokenFileException>(() => file.Read(1, new int[3])).Message, StringComparison.Ordinal);
        Assert.Throws<TokenFileException>(() => file.Verify(TestContext.Current.CancellationToken));
        file.Read(3, new int[3]);
    }

    [Fact]
    public void A_hostile_file_is_refused_or_is_the_original()
    {
        byte[] original = File.ReadAllBytes(TinyTokens.Write(_folder, 100, 20, 0, 30, 1));
        int refused = HostileFiles.Check(
            seed => FileMutation.Of(original, seed),
            bytes =>
            {
                OpenAndVerify(_folder.Write("hostile", bytes));
                Assert.Equal(original, bytes);
            },
            e => e is TokenFileException);
        Assert.InRange(refused, HostileFiles.Count * 9 / 10, HostileFiles.Count);
    }

    [Fact]
    public void Hostile_counts_with_fitting_checksums_are_refused_or_stay_within_the_file()
    {
        byte[] original = File.ReadAllBytes(TinyTokens.Write(_folder, 100, 20, 0, 30, 1));
        int refused = HostileFiles.Check(
            seed =>
            {
                FileMutation mutation = FileMutation.Of(original, seed);
                return mutation.Bytes.Length < TokenFileHeader.Length
                    ? mutation
                    : mutation with { Bytes = WithHeaderChecksum(mutation.Bytes) };
            },
            bytes =>
            {
                using TokenFile file = TokenFile.Open(_folder.Write("hostile", bytes));
                for (long i = 0; i < file.DocumentCount; i++)
                {
                    TokenRange document = file.Document(i);
                    file.Read(document.Start, new int[document.Count]);
                }
            },
            e => e is TokenFileException);
        Assert.InRange(refused, HostileFiles.Count / 2, HostileFiles.Count - 1);
    }

    [Fact]
    public void A_part_held_out_ends_at_documents_where_they_are_near()
    {
        using TokenFile file = TokenFile.Open(TinyTokens.Write(_folder, 10, 40, 41, 9, 10));
        (TokenSlice training, TokenSlice heldOut) = file.All.HoldOut(0.2);
        Assert.Equal((0L, 81L, 2L), (training.Start, training.TokenCount, training.DocumentCount));
        Assert.Equal((81L, 19L, 2L), (heldOut.Start, heldOut.TokenCount, heldOut.DocumentCount));
        Assert.Equal(new TokenRange(90, 10), heldOut.Document(1));

        // Document 1 ends 20 tokens behind the wanted place, more than half of the 39 that are held out.
        (training, heldOut) = file.All.HoldOut(0.39);
        Assert.Equal((61L, 39L), (training.TokenCount, heldOut.TokenCount));
        Assert.Equal(new TokenRange(40, 21), training.Document(1));
        Assert.Equal(new TokenRange(61, 20), heldOut.Document(0));
        Assert.Equal((3L, 2L), (heldOut.DocumentCount, training.DocumentCount));
    }

    [Theory]
    [InlineData(0), InlineData(1), InlineData(-0.1), InlineData(double.NaN), InlineData(0.001)]
    public void A_part_held_out_is_not_empty(double fraction)
    {
        using TokenFile file = TokenFile.Open(TinyTokens.Write(_folder, 10, 40));
        Assert.ThrowsAny<ArgumentException>(() => file.All.HoldOut(fraction));
    }

    private static void OpenAndVerify(string path)
    {
        using TokenFile file = TokenFile.Open(path);
        file.Verify();
    }

    private static byte[] WithHeaderChecksum(byte[] bytes)
    {
        XxHash64.Hash(bytes.AsSpan(0, 88), bytes.AsSpan(88));
        return bytes;
    }
}
