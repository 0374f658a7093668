using System.Text;
using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>From texts to token files: documents, order, ends of text, and what is said of texts that cannot be used.</summary>
public sealed class CorpusTests : IDisposable
{
    private static readonly ByteTokenizer Bytes = new(endOfText: 0);
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static CorpusOptions OneThread { get; } = new() { Threads = 1 };

    /// <summary>The documents that come of texts, each as a text whose NULs are shown as |.</summary>
    private string[] Documents(CorpusOptions options, params string[] inputs) => DocumentsWith(null, options, inputs);

    private string[] DocumentsWith(string? standardInput, CorpusOptions options, params string[] inputs)
    {
        string path = _folder.File(".made");
        using (TokenFileWriter writer = new(path, Bytes, replace: true))
        {
            using MemoryStream? stream = standardInput is null ? null : new(Encoding.UTF8.GetBytes(standardInput));
            CorpusProgress done = CorpusTokenizer.Tokenize(
                inputs, Bytes, options, writer, standardInput: stream, cancellation: TestContext.Current.CancellationToken);
            writer.Complete();
            Assert.Equal((writer.DocumentCount, writer.TokenCount), (done.Documents, done.Tokens));
        }

        return Texts(path);
    }

    private static string[] Texts(string path)
    {
        using TokenFile file = TokenFile.Open(path);
        file.Verify(TestContext.Current.CancellationToken);
        List<string> texts = [];
        for (long i = 0; i < file.DocumentCount; i++)
        {
            int[] ids = new int[file.Document(i).Count];
            file.Read(file.Document(i).Start, ids);
            texts.Add(Bytes.Decode(ids).Replace('\0', '|'));
        }

        return [.. texts];
    }

    private CorpusException Refused(CorpusOptions options, params string[] inputs)
    {
        int before = Directory.GetFiles(_folder.Path).Length;
        CorpusException refused = Assert.Throws<CorpusException>(() => Documents(options, inputs));
        Assert.Equal(before, Directory.GetFiles(_folder.Path).Length);
        return refused;
    }

    [Fact]
    public void A_text_file_is_a_document_with_its_end()
    {
        string one = _folder.Write("one", "Grüße\n"), empty = _folder.Write("empty", ""), mark = _folder.Write("mark", "\ufeffx");
        Assert.Equal(["Grüße\n|", "|", "x|"], Documents(OneThread, one, empty, mark));
        Assert.Equal(["Grüße\n", "", "x"], Documents(OneThread with { EndDocuments = false }, one, empty, mark));
    }

    [Fact]
    public void An_end_of_text_within_a_text_ends_a_document()
    {
        string file = _folder.Write("many", "one\0two\0"), other = _folder.Write("other", "\0\0three");
        Assert.Equal(["one|", "two|", "|", "|", "three|"], Documents(OneThread, file, other));
        Assert.Equal(["one|", "two|", "|", "|", "three"], Documents(OneThread with { EndDocuments = false }, file, other));
    }

    [Fact]
    public void Folders_are_read_with_all_below_them_in_one_order()
    {
        foreach (string name in new[] { "b.txt", "a/z.txt", "a/b/c.txt", "a.txt", "B.txt", "a/skip.md", ".hidden.txt", ".git/x.txt" })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_folder.File(name))!);
            _folder.Write(name, name);
        }

        _folder.Write("lines.jsonl", """{"text":"line"}""");
        Directory.CreateSymbolicLink(_folder.File("a/loop"), _folder.Path);
        Assert.Equal(["B.txt|", "a.txt|", "a/b/c.txt|", "a/z.txt|", "b.txt|", "line|"], Documents(OneThread, _folder.Path));
        Assert.Equal(
            ["a/skip.md|", "b.txt|"], Documents(OneThread with { Include = ["*.md", "b.*"] }, _folder.Path));
        Assert.Equal(["line|"], Documents(OneThread with { Format = CorpusFormat.JsonLines }, _folder.Path));
        Assert.Equal("a/z.txt|", Documents(OneThread, _folder.File("a/z.txt"), _folder.Path)[0]);
        CorpusException refused = Refused(OneThread with { Include = ["*.cs", "*.fs"] }, _folder.Path);
        Assert.Contains("matches *.cs or *.fs. Name others with --include", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Each_JSON_line_is_a_document()
    {
        string file = _folder.Write(
            "lines.jsonl",
            "\ufeff{'text':'a\\nb','n':1}\r\n\n  \t\n{'n':{},'text':''}\n{'text':'x\\u0000y'}\n{'text':'Grüße'}".Replace('\'', '"'));
        Assert.Equal(["a\nb|", "|", "x|", "y|", "Grüße|"], Documents(OneThread, file));
        string other = _folder.Write("other", "{\"content\":\"c\"}\n");
        Assert.Equal(["c|"], Documents(OneThread with { Format = CorpusFormat.JsonLines, Field = "content" }, other));
        Assert.Equal(["{\"content\":\"c\"}\n|"], Documents(OneThread, other));
        Assert.Empty(Documents(OneThread, _folder.Write("nothing.jsonl", "")));
    }

    [Fact]
    public void Standard_input_is_read_where_it_stands()
    {
        string file = _folder.Write("file", "file");
        Assert.Equal(["file|", "in|", "file|"], DocumentsWith("in", OneThread, file, "-", file));
        Assert.Equal(["j|"], DocumentsWith("{\"text\":\"j\"}", OneThread with { Format = CorpusFormat.JsonLines }, "-"));
    }

    public static TheoryData<string, string, string> Lines => new()
    {
        { "line 3 is not valid JSON (at its byte 9)", "{\"text\":\"\"}\n\n{\"text\":", "" },
        { "line 2 is not valid JSON", "{\"text\":\"\"}\nnonsense\n", "" },
        { "line 1 is no JSON object", "[1]", "" },
        { "line 1 has no field 'text'. It has 'body', 'n'; choose one with --field", "{\"body\":\"\",\"n\":1}", "" },
        { "line 2 has no field 'text'.", "{\"text\":\"\"}\n{}", "" },
        { "field 'text' of line 1 is no text but Number", "{\"text\":1}", "" },
        { "field 'text' of line 1 is no text but Null", "{\"text\":null}", "" },
        { "line 1 has half a surrogate pair", "{\"text\":\"\\ud800\"}", "" },
        { "line 2 is not UTF-8", "{\"text\":\"\"}\n{\"text\":\"", "\"}\n" },
    };

    [Theory]
    [MemberData(nameof(Lines))]
    public void A_bad_JSON_line_is_named(string expected, string before, string behindBadByte)
    {
        byte[] bytes = [.. Encoding.UTF8.GetBytes(before), .. behindBadByte.Length > 0 ? [0xE4] : Array.Empty<byte>(),
            .. Encoding.UTF8.GetBytes(behindBadByte)];
        string file = _folder.Write("bad.jsonl", bytes);
        Assert.StartsWith($"{file}: {expected}", Refused(OneThread, file).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_byte_that_is_not_UTF8_is_named_also_far_into_a_file()
    {
        byte[] bytes = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("Wörter und Wörter ", 200_000)));
        bytes[3_456_789] = 0xFF;
        string file = _folder.Write("bad.txt", bytes);
        Assert.Contains("byte 3,456,789 is not UTF-8", Refused(new CorpusOptions { Threads = 3 }, file).Message, StringComparison.Ordinal);
        string cut = _folder.Write("cut.txt", "a€"u8[..3]);
        Assert.Contains("byte 1 is not UTF-8", Refused(OneThread, cut).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_not_there_or_would_be_overwritten_is_named()
    {
        Assert.Contains("nowhere: there is no such", Refused(OneThread, "/nowhere").Message, StringComparison.Ordinal);
        string file = _folder.Write("file.txt", "kept");
        using (TokenFileWriter writer = new(file, Bytes, replace: true))
        {
            CorpusException refused = Assert.Throws<CorpusException>(() => CorpusTokenizer.Tokenize(
                [_folder.Path], Bytes, OneThread, writer, cancellation: TestContext.Current.CancellationToken));
            Assert.Contains("would be the output too", refused.Message, StringComparison.Ordinal);
        }

        Assert.Equal("kept", File.ReadAllText(file));
        ByteTokenizer endless = new();
        using TokenFileWriter other = new(_folder.File("other"), endless);
        Assert.Contains(
            "--no-eos",
            Assert.Throws<ArgumentException>(() => CorpusTokenizer.Tokenize(
                [file], endless, OneThread, other, cancellation: TestContext.Current.CancellationToken)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void The_result_is_the_same_for_any_number_of_threads()
    {
        Random random = new(5);
        StringBuilder text = new(), lines = new();
        while (text.Length < 3_000_000)
        {
            text.Append("word ", 0, 1 + random.Next(5)).Append(random.Next(50) == 0 ? "\0" : "").Append(random.Next(9) == 0 ? "\n\n" : "");
        }

        for (int i = 0; i < 40_000; i++)
        {
            lines.Append("{\"text\":\"").Append('a', random.Next(100)).Append(i).Append("\"}\n");
        }

        string[] inputs = [_folder.Write("a.txt", text.ToString()), _folder.Write("b.jsonl", lines.ToString()), _folder.Write("c.txt", "")];
        byte[][] made = [.. new[] { 1, 2, 7, 0 }.Select(threads =>
        {
            Documents(new CorpusOptions { Threads = threads }, inputs);
            return File.ReadAllBytes(_folder.File(".made"));
        })];
        Assert.All(made, bytes => Assert.True(bytes.AsSpan().SequenceEqual(made[0])));
        string[] texts = Texts(_folder.File(".made"));
        string[] expected = text.ToString().Split('\0');
        Assert.Equal(expected.Select(document => document + "|"), texts[..expected.Length]);
        Assert.Equal(40_001, texts.Length - expected.Length);
    }

    [Fact]
    public void Every_so_many_documents_one_is_held_out()
    {
        string[] inputs = [.. Enumerable.Range(0, 10).Select(i => _folder.Write($"{i}.txt", $"{i}"))];
        string training = _folder.File("training"), heldOut = _folder.File("held-out");
        using (TokenFileWriter writer = new(training, Bytes), other = new(heldOut, Bytes))
        {
            CorpusProgress done = CorpusTokenizer.Tokenize(
                inputs, Bytes, new CorpusOptions { HeldOutEvery = 3, Threads = 2 }, writer, other,
                cancellation: TestContext.Current.CancellationToken);
            Assert.Equal(new CorpusProgress(10, 10, 10, 20), done);
            other.Complete();
            writer.Complete();
        }

        Assert.Equal(["2|", "5|", "8|"], Texts(heldOut));
        Assert.Equal(["0|", "1|", "3|", "4|", "6|", "7|", "9|"], Texts(training));
    }

    [Fact]
    public void Cancelled_it_leaves_nothing()
    {
        string file = _folder.Write("a.txt", new string('a', 5_000_000));
        using CancellationTokenSource cancellation = new();
        Stopping progress = new(cancellation);
        using (TokenFileWriter writer = new(_folder.File("made"), Bytes))
        {
            Assert.Throws<OperationCanceledException>(() => CorpusTokenizer.Tokenize(
                [file], Bytes, new CorpusOptions { Threads = 2 }, writer, progress: progress, cancellation: cancellation.Token));
        }

        Assert.Equal(1, progress.Reports);
        Assert.Equal([file], Directory.GetFiles(_folder.Path));
    }

    private sealed class Stopping(CancellationTokenSource cancellation) : IProgress<CorpusProgress>
    {
        public int Reports { get; private set; }

        public void Report(CorpusProgress value)
        {
            Reports++;
            cancellation.Cancel();
        }
    }
}
