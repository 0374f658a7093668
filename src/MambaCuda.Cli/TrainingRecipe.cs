using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace MambaCuda.Cli;

/// <summary>
/// A command line as one JSON object: each option by its long name without dashes, each argument by its name. What is read is turned into
/// words and parsed together with the command line, so both are understood and refused alike.
/// </summary>
internal static class TrainingRecipe
{
    /// <summary>The name under which a run keeps its own.</summary>
    public const string FileName = "recipe.json";

    private static readonly JsonWriterOptions Layout = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The option that names a recipe; a recipe names no other.</summary>
    public static Option<string?> Option() => new("--recipe")
    {
        Description = "A JSON file with options by their long names, such as the recipe.json of a run; the command line goes before it.",
        HelpName = "FILE",
    };

    /// <summary>The command line with what a recipe says about options and arguments that it does not have.</summary>
    /// <param name="path">The recipe.</param>
    /// <param name="parsed">The command line.</param>
    /// <param name="own">The option that named the recipe.</param>
    /// <exception cref="InvalidDataException">
    /// The recipe cannot be read, has a name that is no option, or a value that an option refuses.
    /// </exception>
    public static ParseResult Complete(string path, ParseResult parsed, Option own)
    {
        Command command = parsed.CommandResult.Command;
        Dictionary<string, Symbol> known = Symbols(command, own).ToDictionary(NameOf);
        List<string> values = [], arguments = [];
        HashSet<string> seen = [];
        using JsonDocument document = Parse(path);
        foreach (JsonProperty property in document.RootElement.EnumerateObject())
        {
            if (!known.TryGetValue(property.Name, out Symbol? symbol))
            {
                throw new InvalidDataException(
                    $"{path}: {command.Name} has no option \"{property.Name}\"; its names are those that --help lists, without dashes.");
            }

            if (!seen.Add(property.Name))
            {
                throw new InvalidDataException($"{path}: \"{property.Name}\" stands there twice.");
            }

            // Also what the command line overrules must make sense.
            bool isArgument = symbol is Argument;
            string[] said = isArgument ? [.. Words(path, property)] : [$"{symbol.Name}={Word(path, property.Name, property.Value)}"];
            if (!IsGiven(parsed, symbol))
            {
                (isArgument ? arguments : values).AddRange(said);
            }
        }

        List<string> words = [.. parsed.Tokens.Select(token => token.Value)];
        int behindName = parsed.Tokens.ToList().FindIndex(token => token.Type == TokenType.Command) + 1;
        words.InsertRange(behindName, [.. arguments, .. values]);
        ParseResult whole = parsed.RootCommandResult.Command.Parse(words);
        return whole.Errors.Count == 0
            ? whole
            : throw new InvalidDataException($"{path}: {string.Join(' ', whole.Errors.Select(mistake => mistake.Message))}");
    }

    /// <summary>Writes the options that are in force.</summary>
    /// <param name="folder">The folder that gets the recipe; one that is there already is replaced.</param>
    /// <param name="parsed">The command line.</param>
    /// <param name="own">The option that names a recipe.</param>
    /// <param name="decided">
    /// By name, the values of options that mean something else than they say, such as a path; null for one that is not in force.
    /// </param>
    public static void Save(string folder, ParseResult parsed, Option own, IReadOnlyDictionary<string, object?> decided)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter json = new(buffer, Layout))
        {
            json.WriteStartObject();
            foreach (Symbol symbol in Symbols(parsed.CommandResult.Command, own))
            {
                string name = NameOf(symbol);
                Write(json, name, decided.TryGetValue(name, out object? value) ? value : ValueOf(parsed, symbol));
            }

            json.WriteEndObject();
        }

        buffer.WriteByte((byte)'\n');
        string path = Path.Combine(folder, FileName), temporary = Path.Combine(folder, $".{FileName}.new");
        File.WriteAllBytes(temporary, buffer.ToArray());
        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>Whether an option stands on the command line, or only has its default.</summary>
    public static bool IsGiven(ParseResult parsed, Symbol symbol) => parsed.GetResult(symbol) switch
    {
        OptionResult option => !option.Implicit,
        ArgumentResult argument => argument.Tokens.Count > 0,
        _ => false,
    };

    private static IEnumerable<Symbol> Symbols(Command command, Option own) =>
        [.. command.Arguments, .. command.Options.Where(option => option is not HelpOption && option != own)];

    private static string NameOf(Symbol symbol) => symbol.Name.TrimStart('-');

    private static object? ValueOf(ParseResult parsed, Symbol symbol) => parsed.GetResult(symbol) switch
    {
        OptionResult option => option.GetValueOrDefault<object?>(),
        ArgumentResult argument => argument.GetValueOrDefault<object?>(),
        _ => null,
    };

    private static JsonDocument Parse(string path)
    {
        try
        {
            JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document
                : throw new InvalidDataException($"{path}: a recipe is one JSON object, but this is {document.RootElement.ValueKind}.");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new InvalidDataException($"{path}: the recipe cannot be read: {exception.Message}", exception);
        }
    }

    private static IEnumerable<string> Words(string path, JsonProperty property) => property.Value.ValueKind == JsonValueKind.Array
        ? property.Value.EnumerateArray().Select(value => Word(path, property.Name, value))
        : [Word(path, property.Name, property.Value)];

    private static string Word(string path, string name, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.Number => value.GetRawText(),
        JsonValueKind.True => "true",
        JsonValueKind.False => "false",
        _ => throw new InvalidDataException($"{path}: \"{name}\" is {value.ValueKind}, but must be a text, a number, true or false."),
    };

    private static void Write(Utf8JsonWriter json, string name, object? value)
    {
        switch (value)
        {
            case null:
                break;
            case string text:
                json.WriteString(name, text);
                break;
            case bool flag:
                json.WriteBoolean(name, flag);
                break;
            case int number:
                json.WriteNumber(name, number);
                break;
            case long number:
                json.WriteNumber(name, number);
                break;
            case double number:
                json.WriteNumber(name, number);
                break;
            case IEnumerable<string> texts:
                json.WriteStartArray(name);
                foreach (string text in texts)
                {
                    json.WriteStringValue(text);
                }

                json.WriteEndArray();
                break;
            default:
                throw new NotSupportedException($"{name} has a value of type {value.GetType()}, which recipes do not know.");
        }
    }
}
