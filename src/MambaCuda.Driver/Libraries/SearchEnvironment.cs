using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

/// <summary>What of a machine decides where libraries are looked for; tests replace it.</summary>
internal sealed record SearchEnvironment
{
    public static SearchEnvironment ThisMachine { get; } = new()
    {
        IsWindows = OperatingSystem.IsWindows(),
        Variable = Environment.GetEnvironmentVariable,
        ApplicationFolder = AppContext.BaseDirectory,
        RuntimeIdentifier = RuntimeInformation.RuntimeIdentifier,
        HomeFolder = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify),
        RoamingFolder = Environment.GetFolderPath(Environment.SpecialFolder.ApplicationData),
        ProgramsFolder = Environment.GetFolderPath(Environment.SpecialFolder.ProgramFiles),
        SystemRoot = "/",
        Load = Open,
    };

    public required bool IsWindows { get; init; }

    public required Func<string, string?> Variable { get; init; }

    public required string ApplicationFolder { get; init; }

    public required string RuntimeIdentifier { get; init; }

    public required string HomeFolder { get; init; }

    /// <summary>Windows' %APPDATA%.</summary>
    public required string RoamingFolder { get; init; }

    /// <summary>Windows' %ProgramFiles%.</summary>
    public required string ProgramsFolder { get; init; }

    /// <summary>Where Linux's file system begins.</summary>
    public required string SystemRoot { get; init; }

    /// <summary>Loads a file, or a name that the system looks up; zero and the reason where that fails.</summary>
    public required Func<string, (nint Handle, string? Problem)> Load { get; init; }

    private static (nint Handle, string? Problem) Open(string pathOrName)
    {
        try
        {
            return (NativeLibrary.Load(pathOrName), null);
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException)
        {
            return (0, FirstReason(exception.Message, pathOrName));
        }
    }

    // The message holds advice and one line for each variant of the name that was tried; the line with the path itself tells the reason.
    private static string FirstReason(string message, string path) => Path.IsPathRooted(path)
        ? message.Split('\n').FirstOrDefault(line => line.StartsWith(path, StringComparison.Ordinal)) ?? message
        : message;
}
