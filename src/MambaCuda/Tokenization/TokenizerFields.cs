using System.Text.Json;

namespace MambaCuda;

/// <summary>
/// The fields of one object of a tokenizer file, read strictly: what is of another type, or unknown, is refused by its name.
/// </summary>
internal readonly struct TokenizerFields(string file, JsonElement element, string name)
{
    public string Name => name;

    public JsonElement Element => element;

    /// <summary>An object within the file, under a name for messages.</summary>
    public TokenizerFields Of(JsonElement inner, string innerName) => inner.ValueKind == JsonValueKind.Object
        ? new TokenizerFields(file, inner, innerName)
        : throw Error($"{innerName} must be an object");

    public TokenizerException Error(string problem, string? remedy = null) => new(file, problem, remedy);

    public void AllowOnly(params ReadOnlySpan<string> known)
    {
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (!known.Contains(property.Name))
            {
                throw Error($"{name} has the field '{property.Name}', which is not known");
            }
        }
    }

    /// <summary>The field, or null where it is absent or null.</summary>
    public JsonElement? Optional(string field) =>
        element.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    public JsonElement Required(string field, JsonValueKind kind)
    {
        JsonElement value = Optional(field) ?? throw Error($"{name} lacks the field '{field}'");
        return value.ValueKind == kind ? value : throw Error($"{name}.{field} must be of kind {kind}, but is {value.ValueKind}");
    }

    public string Text(string field) => Text(Required(field, JsonValueKind.String), $"{name}.{field}");

    public string? OptionalText(string field) => Optional(field) is null ? null : Text(field);

    public bool Flag(string field, bool absent) => Optional(field) switch
    {
        null => absent,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        _ => throw Error($"{name}.{field} must be true or false"),
    };

    public int? OptionalInteger(string field) => Optional(field) is { } value ? Integer(value, $"{name}.{field}") : null;

    public int Integer(JsonElement value, string what) => value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number)
        ? number
        : throw Error($"{what} must be a whole number of 32 bits");

    /// <summary>A string; one with an unpaired surrogate escape is refused.</summary>
    public string Text(JsonElement value, string what)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Error($"{what} must be a text");
        }
        catch (InvalidOperationException exception)
        {
            throw new TokenizerException(file, $"{what} is not valid Unicode", null, exception);
        }
    }
}
