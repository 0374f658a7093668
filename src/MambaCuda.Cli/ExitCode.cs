namespace MambaCuda.Cli;

/// <summary>What the process tells its caller.</summary>
public static class ExitCode
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>Something failed that is neither of the others.</summary>
    public const int Failed = 1;

    /// <summary>The command line is wrong.</summary>
    public const int Usage = 2;

    /// <summary>A model, tokenizer, state or other file is missing or cannot be used.</summary>
    public const int BadFile = 3;

    /// <summary>Cancelled, as by Ctrl+C.</summary>
    public const int Cancelled = 130;
}
