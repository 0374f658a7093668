using System.Globalization;
using System.Text;

namespace MambaCuda.Tests;

/// <summary>Our normalization form C against ICU's, where ICU is.</summary>
public sealed class CanonicalCompositionTests
{
    // Marks of several classes, Hangul of all three kinds, letters that compose, compositions that are excluded.
    private static readonly int[] Telling =
    [
        'e', 'a', 0x301, 0x300, 0x327, 0x323, 0x307, 0x345, 0x1100, 0x1161, 0x11A8, 0xAC00, 0x0958, 0x2126, 0x212B, 0x1E9B, 0x0B47, 0x0B3E,
        0x1D157, 0x1D165, 0x1F600,
    ];

    private static bool HasIcu => "e\u0301".Normalize() == "\u00E9";

    [Fact]
    public void Every_code_point_alone_and_after_a_letter_is_as_ICU_has_it()
    {
        Assert.SkipUnless(HasIcu, "This machine has no ICU to compare with.");
        for (int code = 0; code <= 0x10FFFF; code++)
        {
            // ICU and the table may know different versions of Unicode; what one of them does not know has no say.
            if (!Rune.IsValid(code) || CharUnicodeInfo.GetUnicodeCategory(code) == UnicodeCategory.OtherNotAssigned)
            {
                continue;
            }

            string alone = new Rune(code).ToString(), after = "e\u0323" + alone + "\u0301";
            Assert.Equal(alone.Normalize(NormalizationForm.FormC), CanonicalComposition.Normalize(alone));
            Assert.Equal(after.Normalize(NormalizationForm.FormC), CanonicalComposition.Normalize(after));
        }
    }

    [Fact]
    public void Random_runs_of_telling_characters_are_as_ICU_has_them()
    {
        Assert.SkipUnless(HasIcu, "This machine has no ICU to compare with.");
        Random random = new(1);
        for (int i = 0; i < 20_000; i++)
        {
            string text = string.Concat(
                Enumerable.Range(0, random.Next(1, 9)).Select(_ => new Rune(Telling[random.Next(Telling.Length)]).ToString()));
            Assert.Equal(text.Normalize(NormalizationForm.FormC), CanonicalComposition.Normalize(text));
        }
    }
}
