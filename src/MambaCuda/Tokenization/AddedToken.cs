namespace MambaCuda;

/// <summary>A token that is found in the text before it is cut into words, with the flags of the <c>tokenizers</c> format.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text.</param>
/// <param name="Special">It marks structure: left out of text for people, and not looked for in plain text.</param>
/// <param name="SingleWord">It counts only where no word character touches it.</param>
/// <param name="StripLeft">White space before it belongs to it.</param>
/// <param name="StripRight">White space after it belongs to it.</param>
/// <param name="Normalized">It is looked for in normalized text, and its own text is normalized too.</param>
internal sealed record AddedToken(int Id, string Content, bool Special, bool SingleWord, bool StripLeft, bool StripRight, bool Normalized);
