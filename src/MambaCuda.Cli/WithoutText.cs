namespace MambaCuda.Cli;

/// <summary>Stands in where a model has no tokenizer and the prompt is ids: no token has text.</summary>
internal sealed class WithoutText : Tokenizer
{
    public override int VocabularySize => 0;

    public override int? EndOfText => null;

    public override int[] Encode(string text, bool addSpecialTokens = true, bool plainText = false) =>
        throw new NotSupportedException("The model has no tokenizer.");

    public override int? TokenId(string token) => null;

    public override bool IsSpecial(int id) => false;

    public override ReadOnlySpan<byte> TokenBytes(int id) => [];
}
