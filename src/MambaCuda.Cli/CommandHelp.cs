using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace MambaCuda.Cli;

/// <summary>
/// Help as System.CommandLine prints it, but the list of commands has only the first sentence of each description; the rest, with the
/// examples, is for the command's own help.
/// </summary>
internal sealed class CommandHelp : SynchronousCommandLineAction
{
    private readonly HelpAction _print;
    private readonly Dictionary<Command, string?> _descriptions;

    private CommandHelp(HelpAction print, IEnumerable<Command> commands)
    {
        _print = print;
        _descriptions = commands.ToDictionary(command => command, command => command.Description);
        foreach (Command command in _descriptions.Keys)
        {
            command.Description = FirstSentence(command.Description ?? "");
        }
    }

    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <summary>Takes the place of the root command's help, once it has all its commands.</summary>
    public static void AddTo(RootCommand root)
    {
        HelpOption option = root.Options.OfType<HelpOption>().Single();
        option.Action = new CommandHelp((HelpAction)option.Action!, root.Subcommands);
    }

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        Command command = parseResult.CommandResult.Command;
        if (_descriptions.TryGetValue(command, out string? description))
        {
            command.Description = description;
        }

        return _print.Invoke(parseResult);
    }

    private static string FirstSentence(string description)
    {
        string line = string.Join(' ', description.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        int end = line.IndexOf(". ", StringComparison.Ordinal);
        return end < 0 ? line : line[..(end + 1)];
    }
}
