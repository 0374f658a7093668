using System.Text;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Damaged tokenizer files: each is refused by name, or is a tokenizer that works.</summary>
public sealed class HostileTokenizerTests
{
    private const string Small = """
        {
          "version": "1.0", "truncation": null, "padding": null,
          "added_tokens": [
            { "id": 6, "content": "<end>", "special": true, "lstrip": true, "rstrip": false, "normalized": false, "single_word": false },
            { "id": 7, "content": "   ", "special": false, "lstrip": false, "rstrip": false, "normalized": true, "single_word": false }
          ],
          "normalizer": { "type": "Sequence", "normalizers": [ { "type": "NFC" } ] },
          "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": "\\p{N}{1,3}|\\s+" }, "behavior": "Isolated", "invert": false },
            { "type": "Digits", "individual_digits": true },
            { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false } ] },
          "post_processor": { "type": "TemplateProcessing", "single": [
            { "SpecialToken": { "id": "<end>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } } ],
            "pair": [], "special_tokens": { "<end>": { "id": "<end>", "ids": [6], "tokens": ["<end>"] } } },
          "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
          "model": { "type": "BPE", "dropout": null, "unk_token": "a", "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
            "vocab": { "a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "\u0120": 5 }, "merges": [ "a b", ["ab", "c"] ] }
        }
        """;

    private static string[] Texts => ["abc ab 12345 é", "<end> a   b", "\uD800 zz"];

    [Fact]
    public void Mutations_of_a_small_file_are_refused_by_name_or_work()
    {
        int refused = HostileFiles.Check(
            seed => FileMutation.Of(Encoding.UTF8.GetBytes(Small), seed), Read, exception => exception is TokenizerException);
        Assert.InRange(refused, HostileFiles.Count / 2, HostileFiles.Count - 1);
    }

    public static TheoryData<string> Tokenizers => [.. Fixtures.Tokenizers()];

    [Theory]
    [MemberData(nameof(Tokenizers))]
    public void Mutations_of_a_real_file_are_refused_by_name_or_work(string name)
    {
        const int Count = 40;
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        byte[] file = File.ReadAllBytes(Path.Combine(Fixtures.PathOf(name), "tokenizer.json"));
        HostileFiles.Check(seed => FileMutation.Of(file, seed), Read, exception => exception is TokenizerException, Count);
    }

    [Fact]
    public void The_file_that_is_mutated_is_one_that_works()
    {
        Read(Encoding.UTF8.GetBytes(Small));
    }

    [Fact]
    public void Deep_nesting_is_refused()
    {
        byte[] deep = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("{\"model\":", 100_000)));
        Assert.Throws<TokenizerException>(() => Read(deep));
    }

    private static void Read(byte[] bytes)
    {
        string folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            string file = Path.Combine(folder, "tokenizer.json");
            File.WriteAllBytes(file, bytes);
            Tokenizer tokenizer = Tokenizer.Load(file);
            foreach (string text in Texts)
            {
                int[] ids = tokenizer.Encode(text);
                Assert.All(ids, id => Assert.InRange(id, 0, tokenizer.VocabularySize - 1));
                Assert.NotNull(tokenizer.Decode(ids));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
