using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>What makes another token file has another fingerprint; what does not has the same.</summary>
public sealed class CorpusFingerprintTests : IDisposable
{
    private static readonly ByteTokenizer Tokenizer = new(endOfText: 0);
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Names_and_times_do_not_count()
    {
        string text = _folder.Write("a.txt", "one"), copy = _folder.Write("b.txt", "one");
        File.SetLastWriteTimeUtc(copy, new DateTime(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        Assert.Equal(32, Of(text).Length);
        Assert.Equal(Of(text), Of(copy));
        Assert.Equal(Of(text, copy), Of(_folder.Path));
    }

    [Fact]
    public void Texts_their_order_tokenizer_and_options_count()
    {
        string one = _folder.Write("1.txt", "one"), two = _folder.Write("2.txt", "two"), both = _folder.Write("3.txt", "onetwo");
        string empty = _folder.Write("4.txt", ""), lines = _folder.Write("5.jsonl", "one");
        string[] all =
        [
            Of(one), Of(two), Of(one, two), Of(two, one), Of(both), Of(both, empty), Of(empty, both), Of(lines),
            CorpusFingerprint.Of([one], Tokenizer, new CorpusOptions { Field = "body" }, TestContext.Current.CancellationToken),
            CorpusFingerprint.Of([one], Tokenizer, new CorpusOptions { EndDocuments = false }, TestContext.Current.CancellationToken),
            CorpusFingerprint.Of([one], new ByteTokenizer(1), new CorpusOptions(), TestContext.Current.CancellationToken),
            CorpusFingerprint.Of([one], new ByteTokenizer(), new CorpusOptions(), TestContext.Current.CancellationToken),
        ];
        Assert.Equal(all.Length, all.Distinct().Count());
    }

    [Fact]
    public void A_text_that_is_not_there_is_told() =>
        Assert.Contains("/nowhere", Assert.Throws<CorpusException>(() => Of("/nowhere")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_token_file_is_known_by_its_beginning()
    {
        Assert.True(TokenFile.IsTokenFile(TinyTokens.Write(_folder, 8, 3, 4)));
        Assert.False(TokenFile.IsTokenFile(_folder.Write("a.tokens", "MCTOKEN")));
        Assert.False(TokenFile.IsTokenFile(_folder.Write("empty", "")));
        Assert.Throws<TokenFileException>(() => TokenFile.IsTokenFile("/nowhere"));
    }

    private static string Of(params string[] inputs) =>
        CorpusFingerprint.Of(inputs, Tokenizer, new CorpusOptions(), TestContext.Current.CancellationToken);
}
