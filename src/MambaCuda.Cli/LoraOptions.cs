using System.CommandLine;

namespace MambaCuda.Cli;

/// <summary>The options of a run that freezes a model and trains an adapter of its.</summary>
internal sealed class LoraOptions
{
    private readonly Option<int?> _rank = new("--lora-rank")
    {
        Description = "Freeze the model of --from and train low-rank adapters (LoRA) of this rank. Left out: all of the model is trained.",
        HelpName = "N",
    };

    private readonly Option<double?> _alpha = new("--lora-alpha")
    {
        Description = "An adapter's part is multiplied by this over the rank. Left out: twice the rank.",
        HelpName = "X",
    };

    private readonly Option<string?> _targets = new("--lora-targets")
    {
        Description = "The projections of every layer that get an adapter: some of in_proj,x_proj,dt_proj,out_proj. Left out: "
            + "in_proj,out_proj. (PEFT loads no out_proj into a Mamba model: leave it out for PEFT's users, or merge.)",
        HelpName = "NAMES",
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_rank);
        command.Options.Add(_alpha);
        command.Options.Add(_targets);
    }

    /// <summary>The adapter that is to be trained; null where all of the model is.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="from">What --from names, or null.</param>
    /// <exception cref="UsageException">The options do not go together, or one is out of its range.</exception>
    public LoraSettings? Read(ParseResult parsed, string? from)
    {
        if (parsed.GetValue(_rank) is not { } rank)
        {
            return Array.Find<Option>([_alpha, _targets], option => TrainingRecipe.IsGiven(parsed, option)) is { } superfluous
                ? throw new UsageException($"{superfluous.Name} is for adapters: give their --lora-rank too.")
                : null;
        }

        if (from is null)
        {
            throw new UsageException("--lora-rank freezes a model and needs one: name it by --from.");
        }

        try
        {
            LoraSettings settings = new() { Rank = rank, Alpha = parsed.GetValue(_alpha) ?? 2.0 * rank, BaseModel = Path.GetFullPath(from) };
            if (parsed.GetValue(_targets) is { } targets)
            {
                settings = settings with { Targets = targets.Split(',', StringSplitOptions.TrimEntries) };
            }

            settings.Validate();
            return settings;
        }
        catch (ArgumentException exception)
        {
            throw new UsageException(exception.Message, exception);
        }
    }

    /// <summary>By their names in a recipe, what became of options that are derived from others where they are left out.</summary>
    public IEnumerable<KeyValuePair<string, object?>> Derived(ParseResult parsed)
    {
        if (Read(parsed, parsed.GetValue<string?>("--from")) is { } settings)
        {
            yield return new("lora-alpha", settings.Alpha);
            yield return new("lora-targets", string.Join(',', settings.Targets));
        }
    }
}
