using System.CommandLine;

namespace MambaCuda.Cli;

/// <summary>Options that several commands share.</summary>
internal static class CommonOptions
{
    public static Option<bool> Verbose { get; } = new("--verbose")
    {
        Description = "Tell what is computed on and why, and show the whole trace of an error.",
        Recursive = true,
    };

    public static Option<string?> Model() => new("--model", "-m")
    {
        Description =
            "A folder with config.json, weights (model.safetensors, shards with an index, or pytorch_model.bin) and tokenizer.json. "
            + "Left out: the small byte-level model that comes with this program.",
        HelpName = "DIR",
    };

    public static Option<string?> Tokenizer() => new("--tokenizer")
    {
        Description = "A tokenizer.json, or a folder with one, in place of the model's own.",
        HelpName = "PATH",
    };

    public static Option<string?> Adapter() => new("--adapter")
    {
        Description = "A folder with a LoRA adapter in PEFT's layout (adapter_config.json, adapter_model.safetensors), which is merged into "
            + "the weights.",
        HelpName = "DIR",
    };

    public static Option<bool> Json() => new("--json") { Description = "Print one JSON object." };

    /// <summary>An option with a number, or another value, that it has where it is left out.</summary>
    /// <param name="name">With its dashes.</param>
    /// <param name="description">What it does.</param>
    /// <param name="value">The value where it is left out.</param>
    /// <param name="helpName">What help calls the value.</param>
    public static Option<T> WithDefault<T>(string name, string description, T value, string? helpName = "N") =>
        new(name) { Description = description, DefaultValueFactory = _ => value, HelpName = helpName };
}
