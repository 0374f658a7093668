// make-corpus.cs: the default model's training and held-out text, made from the reference documentation that comes with the .NET SDK.
//
//   dotnet run src/MambaCuda.Cli/DefaultModel/make-corpus.cs -- OUTDIR [PACKS]
//
// Reads the XML files of the two reference packs that every SDK has (PACKS: another `packs` folder than the running SDK's) and writes
//   train.bin            the training text
//   heldout.txt          about 2 % of the text, whole types, never trained on
//   heldout-sample.txt   the first documents of heldout.txt, at most 60,000 bytes
// One document describes one type and all its members as plain text; a byte 0 follows each document. UTF-8, no byte order mark.
// Documents stand in the order of the SHA-256 of their family's name, so neither the file system nor the platform changes a byte. A family
// is a type, its nested types and its namesakes of other arity (Func`1 to Func`17): near copies never straddle the split.

using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;

const double HeldOutShare = 0.02;
const int SampleBytes = 60_000;

if (args.Length is 0 or > 2)
{
    Console.Error.WriteLine("usage: dotnet run make-corpus.cs -- OUTDIR [PACKS]");
    return 2;
}

string packs = args.Length == 2
    ? args[1]
    : Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "packs"));
Documentation? documentation = Documentation.Load(packs);
if (documentation is null)
{
    Console.Error.WriteLine($"No reference documentation under '{packs}': name the packs folder of a .NET SDK as second argument.");
    return 1;
}

foreach (string pack in documentation.Packs) Console.WriteLine($"reads {pack}");
byte[][][] documents = [.. documentation.Families()
    .OrderBy(family => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(family.Key))), StringComparer.Ordinal)
    .Select(Texts)];

// Whole families from the front until the held-out share is reached; the sample is whole documents from the front of these.
long total = documents.SelectMany(family => family).Sum(text => text.Length + 1L);
long heldOutBytes = 0;
int heldOutFamilies = 0;
while (heldOutBytes < total * HeldOutShare) heldOutBytes += documents[heldOutFamilies++].Sum(text => text.Length + 1L);
byte[][] heldOut = [.. documents.Take(heldOutFamilies).SelectMany(family => family)];
int sampleCount = 0;
for (int bytes = 0; sampleCount < heldOut.Length && (bytes += heldOut[sampleCount].Length + 1) <= SampleBytes;) sampleCount++;

Directory.CreateDirectory(args[0]);
Write("train.bin", [.. documents.Skip(heldOutFamilies).SelectMany(family => family)]);
Write("heldout.txt", heldOut);
Write("heldout-sample.txt", heldOut[..sampleCount]);
return 0;

byte[][] Texts(IEnumerable<string> types) =>
    [.. types.Select(type => Encoding.UTF8.GetBytes(documentation.Document(type))).Where(text => text.Length > 0)];

void Write(string name, byte[][] texts)
{
    byte[] all = [.. texts.SelectMany(text => text.Append((byte)0))];
    File.WriteAllBytes(Path.Combine(args[0], name), all);
    string hash = Convert.ToHexStringLower(SHA256.HashData(all));
    Console.WriteLine(FormattableString.Invariant($"{name,-18} {texts.Length,6} documents {all.Length,10} bytes  sha256 {hash}"));
}

/// <summary>The documented types and members of the reference packs.</summary>
internal sealed partial class Documentation
{
    private static readonly string[] PackNames = ["Microsoft.NETCore.App.Ref", "Microsoft.AspNetCore.App.Ref"];

    /// <summary>Documentation by id ("T:System.String"); the first file in ordinal order that has text for an id wins.</summary>
    private readonly SortedDictionary<string, XElement> _members = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, List<string>> _membersOfType = new(StringComparer.Ordinal);

    public List<string> Packs { get; } = [];

    public static Documentation? Load(string packs)
    {
        var documentation = new Documentation();
        var files = new List<string>();
        foreach (string name in PackNames)
        {
            string folder = Path.Combine(packs, name);
            // Of several installed versions the newest; a folder whose name is no version number is nothing that an SDK put there.
            string? newest = !Directory.Exists(folder)
                ? null
                : Directory.GetDirectories(folder).Where(path => Version.TryParse(Path.GetFileName(path), out _))
                    .MaxBy(path => Version.Parse(Path.GetFileName(path)));
            if (newest is null) continue;
            documentation.Packs.Add($"{name} {Path.GetFileName(newest)}");
            files.AddRange(Directory.GetFiles(newest, "*.xml", SearchOption.AllDirectories));
        }

        foreach (string file in files.OrderBy(Path.GetFileName, StringComparer.Ordinal).ThenBy(file => file, StringComparer.Ordinal))
        {
            XElement root = XDocument.Load(file, LoadOptions.PreserveWhitespace).Root!;
            if (root.Name != "doc") continue;
            foreach (XElement member in root.Elements("members").Elements("member"))
            {
                string? id = member.Attribute("name")?.Value;
                if (id is not [_, ':', _, ..] || string.IsNullOrWhiteSpace(member.Value)) continue;
                documentation._members.TryAdd(id, member);
            }
        }

        foreach (string id in documentation._members.Keys)
        {
            string type = id[0] == 'T' ? id[2..] : DeclaringType(id);
            documentation._membersOfType.TryAdd(type, []);
            if (id[0] != 'T') documentation._membersOfType[type].Add(id);
        }

        return documentation._members.Count == 0 ? null : documentation;
    }

    /// <summary>Types by family: the outermost documented type's name without arity.</summary>
    public IEnumerable<IGrouping<string, string>> Families() => _membersOfType.Keys.GroupBy(type =>
    {
        string outermost = type;
        for (int dot = type.LastIndexOf('.'); dot > 0; dot = type.LastIndexOf('.', dot - 1))
        {
            if (_members.ContainsKey("T:" + type[..dot])) outermost = type[..dot];
        }

        return outermost.Split('`')[0];
    });

    /// <summary>One type as plain text: its name and description, then its members. Neighbouring overloads share a description.</summary>
    public string Document(string type)
    {
        var text = new StringBuilder();
        _members.TryGetValue("T:" + type, out XElement? itself);
        text.Append(Namespace(type)).Append(Display("T:" + type)).Append('\n').Append(itself is null ? "" : Describe(itself));
        string? previous = null;
        int members = 0;
        foreach (string id in _membersOfType[type])
        {
            string description = Describe(_members[id]);
            if (description.Length == 0) continue;
            string signature = Signature(id, _members[id]) + "\n";
            if (description == previous)
            {
                text.Insert(text.Length - description.Length, signature);
            }
            else
            {
                text.Append('\n').Append(signature).Append(description);
            }

            previous = description;
            members++;
        }

        return itself is null && members == 0 ? "" : text.ToString();
    }

    /// <summary>Summary, parameters, result, exceptions and remarks, a line each or more.</summary>
    private string Describe(XElement member)
    {
        var text = new StringBuilder();
        Section("summary", _ => "");
        Section("typeparam", element => element.Attribute("name")?.Value + ": ");
        Section("param", element => element.Attribute("name")?.Value + ": ");
        Section("value", _ => "Value: ");
        Section("returns", _ => "Returns: ");
        Section("exception", element => "Throws " + Display(element.Attribute("cref")?.Value ?? "T:Exception") + ": ");
        Section("remarks", _ => "");
        Section("example", _ => "");
        return text.ToString();

        void Section(string name, Func<XElement, string> label)
        {
            foreach (XElement element in member.Elements(name))
            {
                string prose = new Prose(this).Render(element);
                if (prose.Length > 0) text.Append(label(element)).Append(prose).Append('\n');
            }
        }
    }

    /// <summary>The member's name as a C# programmer writes it, with the types and names of its parameters.</summary>
    private string Signature(string id, XElement member)
    {
        string type = DeclaringType(id);
        string rest = id[(2 + type.Length + 1)..];
        int open = rest.IndexOf('(', StringComparison.Ordinal);
        int result = rest.LastIndexOf('~');
        string name = open >= 0 ? rest[..open] : result >= 0 ? rest[..result] : rest;
        string[] methodParameters = [.. member.Elements("typeparam").Select(element => element.Attribute("name")?.Value ?? "T")];
        int arity = name.IndexOf("``", StringComparison.Ordinal);
        if (arity >= 0)
        {
            if (methodParameters.Length == 0) methodParameters = Numbered(int.Parse(name[(arity + 2)..], CultureInfo.InvariantCulture));
            name = name[..arity] + "<" + string.Join(", ", methodParameters) + ">";
        }

        var reader = new TypeReader(this, TypeParameters(type), methodParameters);
        var parameters = new List<string>();
        if (open >= 0)
        {
            string list = rest[(open + 1)..(result > open ? result - 1 : rest.Length - 1)];
            XElement[] documented = [.. member.Elements("param")];
            foreach (string parameter in reader.ReadList(list))
            {
                XElement? its = parameters.Count < documented.Length ? documented[parameters.Count] : null;
                bool isOut = parameter.StartsWith("ref ", StringComparison.Ordinal) && its is not null
                    && its.Value.Contains("When this method returns", StringComparison.OrdinalIgnoreCase);
                parameters.Add((isOut ? "out" + parameter[3..] : parameter) + (its is null ? "" : " " + its.Attribute("name")?.Value));
            }
        }

        string joined = string.Join(", ", parameters);
        string simple = Display("T:" + type);
        if (name == "#ctor") return $"{simple}({joined})";
        if (name == "#cctor") return $"static {simple}()";
        if (name is "op_Implicit" or "op_Explicit" or "op_CheckedExplicit")
        {
            string target = result >= 0 ? reader.Read(rest[(result + 1)..]) : simple;
            return $"{(name == "op_Implicit" ? "implicit" : "explicit")} operator {target}({joined})";
        }

        if (Operators.TryGetValue(name, out string? symbol)) return $"operator {symbol}({joined})";
        int explicitEnd = name.LastIndexOf('#');
        if (explicitEnd > 0)
        {
            string contract = name[..explicitEnd].Replace('#', '.').Replace('@', ',').Replace('<', '{').Replace('>', '}');
            name = reader.Read(contract) + "." + name[(explicitEnd + 1)..];
        }

        if (id[0] == 'P' && open >= 0) return (explicitEnd > 0 ? name[..(name.LastIndexOf('.') + 1)] : "") + $"this[{joined}]";
        return id[0] == 'M' ? $"{name}({joined})" : name;
    }

    /// <summary>What prose calls a thing: a type by its name, a member by its type's too, a constructor by its type's alone.</summary>
    public string Display(string cref)
    {
        bool hasKind = cref.Length > 2 && cref[1] == ':';
        int colon = hasKind ? 1 : cref.IndexOf(':', StringComparison.Ordinal);
        char kind = colon > 0 ? cref[0] : 'T';
        string id = cref[(colon + 1)..];
        if (kind is 'N' or '!' || id.Contains('/', StringComparison.Ordinal)) return id;
        if (kind == 'T') return new TypeReader(this, [], []).ReadName(id);
        string type = DeclaringType("M:" + id);
        string name = id[Math.Min(id.Length, type.Length + 1)..].Split('(', '~', '`')[0];
        string owner = type.Length == 0 ? "" : new TypeReader(this, [], []).ReadName(type);
        if (name is "#ctor" or "#cctor" or "") return owner;
        if (Operators.TryGetValue(name, out string? symbol)) name = "operator " + symbol;
        if (name.Contains('#', StringComparison.Ordinal)) name = name[(name.LastIndexOf('#') + 1)..];
        return owner.Length == 0 ? name : owner + "." + name;
    }

    public bool IsType(string name) => _members.ContainsKey("T:" + name) || _membersOfType.ContainsKey(name);

    /// <summary>Names of a type's parameters, those of the types around it first, as documented or numbered.</summary>
    public string[] TypeParameters(string type)
    {
        var names = new List<string>();
        foreach (Match level in Arity().Matches(type))
        {
            int count = int.Parse(level.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
            string[] documented = _members.TryGetValue("T:" + type[..(level.Index + level.Length)], out XElement? element)
                ? [.. element.Elements("typeparam").Select(parameter => parameter.Attribute("name")?.Value ?? "T")]
                : [];
            names.AddRange(documented.Length == count ? documented : Numbered(count));
        }

        return [.. names];
    }

    private static string[] Numbered(int count) => count == 1 ? ["T"] : [.. Enumerable.Range(1, count).Select(i => $"T{i}")];

    private string Namespace(string type)
    {
        string[] parts = type.Split('.');
        int first = 1;
        while (first < parts.Length && !IsType(string.Join('.', parts.Take(first)))) first++;
        return first == 1 ? "" : string.Join('.', parts.Take(first - 1)) + ".";
    }

    /// <summary>"M:System.String.Join(System.Char)" to "System.String".</summary>
    private static string DeclaringType(string id)
    {
        int end = id.IndexOfAny(['(', '~']);
        int dot = id.LastIndexOf('.', (end < 0 ? id.Length : end) - 1);
        return dot < 2 ? "" : id[2..dot];
    }

    [GeneratedRegex("`([0-9]+)")]
    private static partial Regex Arity();

    private static readonly Dictionary<string, string> Operators = new()
    {
        ["op_Addition"] = "+", ["op_Subtraction"] = "-", ["op_Multiply"] = "*", ["op_Division"] = "/", ["op_Modulus"] = "%",
        ["op_BitwiseAnd"] = "&", ["op_BitwiseOr"] = "|", ["op_ExclusiveOr"] = "^", ["op_OnesComplement"] = "~", ["op_LogicalNot"] = "!",
        ["op_LeftShift"] = "<<", ["op_RightShift"] = ">>", ["op_UnsignedRightShift"] = ">>>",
        ["op_Equality"] = "==", ["op_Inequality"] = "!=",
        ["op_LessThan"] = "<", ["op_LessThanOrEqual"] = "<=", ["op_GreaterThan"] = ">", ["op_GreaterThanOrEqual"] = ">=",
        ["op_Increment"] = "++", ["op_Decrement"] = "--", ["op_UnaryNegation"] = "-", ["op_UnaryPlus"] = "+", ["op_True"] = "true",
        ["op_False"] = "false", ["op_CheckedAddition"] = "checked +", ["op_CheckedSubtraction"] = "checked -",
        ["op_CheckedMultiply"] = "checked *", ["op_CheckedDivision"] = "checked /", ["op_CheckedIncrement"] = "checked ++",
        ["op_CheckedDecrement"] = "checked --", ["op_CheckedUnaryNegation"] = "checked -",
    };
}

/// <summary>Turns types as documentation ids write them ("System.Nullable{``0}[]@") into C# ("ref T?[]").</summary>
internal sealed class TypeReader(Documentation documentation, string[] typeParameters, string[] methodParameters)
{
    private static readonly Dictionary<string, string> Keywords = new()
    {
        ["System.Boolean"] = "bool", ["System.Byte"] = "byte", ["System.SByte"] = "sbyte",
        ["System.Int16"] = "short", ["System.UInt16"] = "ushort", ["System.Int32"] = "int", ["System.UInt32"] = "uint",
        ["System.Int64"] = "long", ["System.UInt64"] = "ulong", ["System.Single"] = "float",
        ["System.Double"] = "double", ["System.Decimal"] = "decimal", ["System.Char"] = "char", ["System.String"] = "string",
        ["System.Object"] = "object", ["System.Void"] = "void", ["System.IntPtr"] = "nint", ["System.UIntPtr"] = "nuint",
    };

    private string _text = "";
    private int _at;

    public IEnumerable<string> ReadList(string text)
    {
        _text = text;
        _at = 0;
        var types = new List<string>();
        while (_at < _text.Length)
        {
            types.Add(ReadType());
            if (_at < _text.Length && _text[_at] != ',') break;
            _at++;
        }

        return types;
    }

    public string Read(string text)
    {
        _text = text;
        _at = 0;
        return ReadType();
    }

    /// <summary>A type's own name as in "T:Ns.Dictionary`2.Enumerator", to "Dictionary&lt;TKey, TValue&gt;.Enumerator".</summary>
    public string ReadName(string name)
    {
        if (name.Contains('{', StringComparison.Ordinal)) return Read(name);
        string[] names = documentation.TypeParameters(name);
        int used = 0;
        return string.Join('.', WithoutNamespace(name.Split('.'), part => part).Select(part =>
        {
            string[] halves = part.Split('`');
            if (halves.Length == 1) return part;
            int arity = int.Parse(halves[1], CultureInfo.InvariantCulture);
            string own = $"{halves[0]}<{string.Join(", ", names.Skip(used).Take(arity))}>";
            used += arity;
            return own;
        }));
    }

    private string ReadType()
    {
        string type;
        if (Peek() == '`')
        {
            int ticks = 0;
            for (; Peek() == '`'; _at++) ticks++;
            int start = _at;
            while (char.IsAsciiDigit(Peek())) _at++;
            string[] names = ticks == 1 ? typeParameters : methodParameters;
            int index = int.Parse(_text.AsSpan(start, _at - start), CultureInfo.InvariantCulture);
            type = index < names.Length ? names[index] : $"T{index + 1}";
        }
        else
        {
            type = ReadNamed();
        }

        for (; ; )
        {
            if (Peek() == '[')
            {
                int close = _text.IndexOf(']', _at);
                if (close < 0) close = _text.Length - 1;
                type += "[" + new string(',', _text.AsSpan(_at, close - _at).Count(',')) + "]";
                _at = close + 1;
            }
            else if (Peek() == '*')
            {
                type += "*";
                _at++;
            }
            else if (Peek() == '@')
            {
                type = "ref " + type;
                _at++;
            }
            else
            {
                return type;
            }
        }
    }

    private string ReadNamed()
    {
        var parts = new List<(string Name, List<string> Arguments)>();
        for (; ; )
        {
            int start = _at;
            while (Peek() is not ('\0' or '.' or '{' or '}' or ',' or '[' or '*' or '@' or '(' or ')')) _at++;
            string name = _text[start.._at];
            var arguments = new List<string>();
            if (Peek() == '{')
            {
                do
                {
                    _at++;
                    arguments.Add(ReadType());
                }
                while (Peek() == ',');
                if (Peek() == '}') _at++;
            }

            parts.Add((name, arguments));
            if (Peek() != '.') break;
            _at++;
        }

        string full = string.Join('.', parts.Select(MetadataName));
        if (Keywords.TryGetValue(full, out string? keyword)) return keyword;
        var own = WithoutNamespace([.. parts], MetadataName).ToArray();
        if (own is [("Nullable", [string only])]) return only + "?";
        return string.Join('.', own.Select(part =>
            part.Arguments.Count == 0 ? part.Name : $"{part.Name}<{string.Join(", ", part.Arguments)}>"));
    }

    private static string MetadataName((string Name, List<string> Arguments) part) =>
        part.Arguments.Count == 0 ? part.Name : $"{part.Name}`{part.Arguments.Count}";

    /// <summary>The parts from the outermost known type on; the last part where none is known.</summary>
    private IEnumerable<T> WithoutNamespace<T>(T[] parts, Func<T, string> metadataName)
    {
        string prefix = "";
        for (int i = 0; i < parts.Length; i++)
        {
            prefix += (i == 0 ? "" : ".") + metadataName(parts[i]);
            if (documentation.IsType(prefix)) return parts.Skip(i);
        }

        return parts.TakeLast(1);
    }

    private char Peek() => _at < _text.Length ? _text[_at] : '\0';
}

/// <summary>Turns one documentation element's markup into plain text: one space between words, a line for each paragraph or item.</summary>
internal sealed partial class Prose(Documentation documentation)
{
    private readonly StringBuilder _text = new();
    private bool _space;

    public string Render(XElement element)
    {
        Visit(element);
        return BlankLines().Replace(_text.ToString(), "\n").Trim();
    }

    private void Visit(XElement element)
    {
        foreach (XNode node in element.Nodes())
        {
            if (node is XText text) Words(text.Value);
            else if (node is XElement child) Child(child);
        }
    }

    private void Child(XElement element)
    {
        switch (element.Name.LocalName)
        {
            case "see" or "seealso" or "xref":
                Reference(element);
                break;
            case "paramref" or "typeparamref":
                Words(element.Attribute("name")?.Value ?? element.Value);
                break;
            case "para" or "p" or "div" or "li" or "ul" or "list" or "listheader" or "note":
                Line();
                Visit(element);
                Line();
                break;
            case "br":
                Line();
                break;
            case "item":
                Line();
                Words("- ");
                Visit(element);
                Line();
                break;
            case "term" when element.ElementsAfterSelf("description").Any():
                Visit(element);
                while (_text.Length > 0 && _text[^1] == ' ') _text.Length--;
                _space = false;
                Words(": ");
                break;
            case "code" when element.Value.Contains('\n', StringComparison.Ordinal):
                Code(element.Value);
                break;
            case "sup":
                Words("^" + element.Value);
                break;
            case "forInternalUseOnly" or "devremarks" or "script":
                break;
            default:
                Visit(element);
                break;
        }
    }

    private void Reference(XElement element)
    {
        if (!string.IsNullOrWhiteSpace(element.Value)) Visit(element);
        else if (element.Attribute("langword") is { } word) Words(word.Value);
        else if (element.Attribute("cref") is { } cref) Words(documentation.Display(cref.Value));
        else if (element.Attribute("uid")?.Value is { } uid) Words(documentation.Display((documentation.IsType(uid) ? "T:" : "M:") + uid));
        else if (element.Attribute("href") is { } href) Words(href.Value);
    }

    private void Words(string text)
    {
        int lineEnds = 0;
        foreach (char raw in text)
        {
            char c = raw is '\u00A0' or '\u2002' or '\u2003' or '\u2009' ? ' ' : raw;
            if (char.IsWhiteSpace(c))
            {
                _space = true;
                // A blank line separates paragraphs where <para> does not.
                if (c == '\n' && ++lineEnds == 2) Line();
                continue;
            }

            lineEnds = 0;
            if (char.IsControl(c) || c is '\u200B' or '\uFEFF') continue;
            if (_space && _text.Length > 0 && _text[^1] != '\n') _text.Append(' ');
            _space = false;
            _text.Append(c);
        }
    }

    private void Line()
    {
        _space = false;
        if (_text.Length > 0 && _text[^1] != '\n') _text.Append('\n');
    }

    private void Code(string code)
    {
        string[] lines = [.. code.ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd())];
        int indent = lines.Where(line => line.Length > 0).Select(line => line.Length - line.TrimStart().Length).DefaultIfEmpty().Min();
        Line();
        foreach (string line in lines)
        {
            if (line.Length > 0) _text.Append(line.AsSpan(indent)).Append('\n');
        }
    }

    [GeneratedRegex("\n{2,}")]
    private static partial Regex BlankLines();
}
