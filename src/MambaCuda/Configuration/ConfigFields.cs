using System.Globalization;
using System.Text.Json;

namespace MambaCuda;

/// <summary>
/// The fields of one JSON object of a configuration. Each is asked for by name, type and range; what nobody asked for in the end is
/// refused by name, because a field that is not understood may change what the model computes.
/// </summary>
internal sealed class ConfigFields
{
    private readonly JsonElement _object;
    private readonly string _source;
    private readonly string _prefix;
    private readonly HashSet<string> _asked = [];

    public ConfigFields(JsonElement element, string source, string prefix)
    {
        _object = element;
        _source = source;
        _prefix = prefix;
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw Refused(prefix.Length == 0
                ? "is not a JSON object"
                : $"{prefix.TrimEnd('.')} is {Shown(element)}, but must be an object");
        }
    }

    /// <summary>The file.</summary>
    public string Source => _source;

    public bool Has(string name) => _object.TryGetProperty(name, out _);

    /// <summary>A whole number, or the default where the field is absent.</summary>
    public int Integer(string name, int absent, int least, int most) => OptionalInteger(name, least, most) ?? absent;

    /// <summary>A whole number, which must be there.</summary>
    public int Integer(string name, int least, int most) => OptionalInteger(name, least, most) ?? throw Refused($"lacks {_prefix}{name}");

    /// <summary>A whole number, or null where the field is absent.</summary>
    public int? OptionalInteger(string name, int least, int most) =>
        Ask(name) is { } value ? IntegerOf(name, value, least, most) : null;

    /// <summary>A whole number; null where the field is null; the default where it is absent.</summary>
    public int? NullableInteger(string name, int? absent, int least, int most) => Ask(name) switch
    {
        null => absent,
        { ValueKind: JsonValueKind.Null } => null,
        { } value => IntegerOf(name, value, least, most),
    };

    /// <summary>A whole number or a list of them; empty where the field is null; the default where it is absent.</summary>
    public TokenIdList Integers(string name, TokenIdList absent, int least, int most) => Ask(name) switch
    {
        null => absent,
        { ValueKind: JsonValueKind.Null } => [],
        { ValueKind: JsonValueKind.Array } list => [.. list.EnumerateArray().Select(value => IntegerOf(name, value, least, most))],
        { } value => [IntegerOf(name, value, least, most)],
    };

    /// <summary>A finite number, or the default where the field is absent.</summary>
    public double Number(string name, double absent) => OptionalNumber(name) ?? absent;

    /// <summary>A finite number, or null where the field is absent.</summary>
    public double? OptionalNumber(string name)
    {
        if (Ask(name) is not { } value)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : throw Refused(name, value, "a finite number");
    }

    /// <summary>True or false, or the default where the field is absent.</summary>
    public bool Flag(string name, bool absent) => OptionalFlag(name) ?? absent;

    /// <summary>True or false, or null where the field is absent.</summary>
    public bool? OptionalFlag(string name) => Ask(name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } value => throw Refused(name, value, "true or false"),
    };

    /// <summary>A string, or null where the field is absent.</summary>
    public string? OptionalText(string name) => Ask(name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.String } value => value.GetString(),
        { } value => throw Refused(name, value, "a string"),
    };

    /// <summary>A string, or null where the field is null or absent.</summary>
    public string? NullableText(string name) => Ask(name) is { ValueKind: JsonValueKind.Null } ? null : OptionalText(name);

    /// <summary>Whether the field is there and is a string.</summary>
    public bool IsText(string name) => Ask(name) is { ValueKind: JsonValueKind.String };

    /// <summary>A whole number, or null where the field is "auto" or absent.</summary>
    public int? IntegerOrAuto(string name, int least, int most)
    {
        if (Ask(name) is not { } value || (value.ValueKind == JsonValueKind.String && value.ValueEquals("auto")))
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Number
            ? IntegerOf(name, value, least, most)
            : throw Refused(name, value, $"\"auto\" or a whole number from {least} to {most}");
    }

    /// <summary>An object, or null where the field is absent or null.</summary>
    public ConfigFields? OptionalObject(string name) =>
        Ask(name) is { ValueKind: not JsonValueKind.Null } value ? new ConfigFields(value, _source, $"{_prefix}{name}.") : null;

    /// <summary>A list of strings, or null where the field is absent or null.</summary>
    public string[]? OptionalTexts(string name) => Ask(name) switch
    {
        null or { ValueKind: JsonValueKind.Null } => null,
        { ValueKind: JsonValueKind.Array } list when list.EnumerateArray().All(value => value.ValueKind == JsonValueKind.String) =>
            [.. list.EnumerateArray().Select(value => value.GetString()!)],
        { } value => throw Refused(name, value, "a list of strings"),
    };

    /// <summary>Whether the field is there and is neither null nor an empty list or object.</summary>
    public bool IsFilled(string name) => Ask(name) switch
    {
        null or { ValueKind: JsonValueKind.Null } => false,
        { ValueKind: JsonValueKind.Array } list => list.GetArrayLength() > 0,
        { ValueKind: JsonValueKind.Object } value => value.EnumerateObject().Any(),
        _ => true,
    };

    /// <summary>Accepts a field whatever it holds.</summary>
    public void Ignore(string name) => Ask(name);

    /// <summary>Refuses fields that nobody asked for.</summary>
    public void RefuseOthers()
    {
        string[] unknown = [.. _object.EnumerateObject().Select(field => field.Name).Where(name => !_asked.Contains(name)).Take(5)];
        if (unknown.Length > 0)
        {
            throw Refused(
                $"has unknown fields: {string.Join(", ", unknown.Select(name => (_prefix + name).Quoted()))}",
                "They may change what the model computes; remove them only if you know that they do not");
        }
    }

    /// <summary>Refuses a field that says something else than another one.</summary>
    public void MustAgree<T>(string name, T? value, string otherName, T other) where T : struct, IEquatable<T>
    {
        if (value is { } given && !given.Equals(other))
        {
            throw Refused(string.Create(
                CultureInfo.InvariantCulture, $"{_prefix}{name} is {given}, which contradicts {otherName}: {other}"));
        }
    }

    public CheckpointException Refused(string problem, string? remedy = null) => new(_source, problem, remedy);

    private JsonElement? Ask(string name)
    {
        _asked.Add(name);
        return _object.TryGetProperty(name, out JsonElement value) ? value : null;
    }

    private int IntegerOf(string name, JsonElement value, int least, int most) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number) && number >= least && number <= most
            ? (int)number
            : throw Refused(name, value, $"a whole number from {least} to {most}");

    private CheckpointException Refused(string name, JsonElement value, string expected) =>
        Refused($"{_prefix}{name} is {Shown(value)}, but must be {expected}");

    private static string Shown(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString()!.Quoted(),
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.Null => "null",
        _ => value.GetRawText() is { Length: <= 40 } text ? text : value.GetRawText()[..40] + "...",
    };
}
