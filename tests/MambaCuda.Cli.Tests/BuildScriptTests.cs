using System.Management.Automation;
using System.Management.Automation.Runspaces;
using MambaCuda.Testing;

namespace MambaCuda.Cli.Tests;

/// <summary>
/// build.ps1 in a PowerShell 7 that has the language and no module. Where commands matter, stand-ins for dotnet, cmake and ctest are in
/// their place, each writing down how it was called; nothing here builds the tree that the tests run from.
/// </summary>
public sealed class BuildScriptTests : IDisposable
{
    private static readonly string Script = Path.Combine(Fixtures.RepositoryRoot, "build.ps1");

    private readonly string _folder = Directory.CreateTempSubdirectory("build-script-").FullName;

    private string Journal => Path.Combine(_folder, "journal");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Help_lists_every_target_and_shows_examples()
    {
        string help = Run(Script, "help");

        Assert.All(Targets, target => Assert.Matches($"(?m)^  {target} +[a-z]", help));
        Assert.Contains("examples:", help);
        Assert.Equal(help, Run(Script, ""));
    }

    [Fact]
    public void Unknown_target_fails_naming_the_targets()
    {
        var error = Assert.ThrowsAny<RuntimeException>(() => Run(Script, "biuld"));

        Assert.Contains("'biuld'", error.Message);
        Assert.All(Targets, target => Assert.Contains(target, error.Message));
    }

    [Theory]
    [InlineData("restore", "dotnet restore MambaCuda.sln")]
    [InlineData("build", "dotnet build MambaCuda.sln -c Release")]
    [InlineData("build -Configuration Debug", "dotnet build MambaCuda.sln -c Debug")]
    [InlineData("test", "dotnet test --solution MambaCuda.sln -c Release")]
    [InlineData("format", "dotnet format MambaCuda.sln --verify-no-changes")]
    [InlineData("pack", "dotnet pack MambaCuda.sln -c Release")]
    [InlineData("publish-aot", "dotnet publish src/MambaCuda.Cli -c Release -o artifacts/aot")]
    [InlineData("bench", "dotnet run --project bench/MambaCuda.Benchmarks -c Release --")]
    [InlineData(
        "native",
        "cmake -S native -B native/build -DCMAKE_BUILD_TYPE=Release",
        "cmake --build native/build --config Release --parallel",
        "ctest --test-dir native/build -C Release --output-on-failure --no-tests=error")]
    public void Target_runs_its_commands_in_order_at_the_root(string target, params string[] commands)
    {
        RunWithStandIns(target);

        Assert.Equal([.. commands.Select(command => $"{Fixtures.RepositoryRoot.TrimEnd('/')}: {command}")], File.ReadAllLines(Journal));
    }

    [Fact]
    public void Paths_that_the_commands_name_exist() =>
        Assert.All(
            [
                "MambaCuda.sln", "src/MambaCuda.Cli/MambaCuda.Cli.csproj", "bench/MambaCuda.Benchmarks/MambaCuda.Benchmarks.csproj",
                "native/CMakeLists.txt",
            ],
            path => Assert.True(File.Exists(Path.Combine(Fixtures.RepositoryRoot, path)), path));

    [Theory]
    [InlineData(
        "test -Configuration Debug --filter-class 'Some Tests' -class X",
        "dotnet test --solution MambaCuda.sln -c Debug --filter-class Some Tests -class X")]
    [InlineData("bench --filter '*.md' 'it''s'", "dotnet run --project bench/MambaCuda.Benchmarks -c Release -- --filter *.md it's")]
    public void Further_arguments_go_to_the_command_as_they_stand(string target, string command)
    {
        RunWithStandIns(target);

        Assert.EndsWith($": {command}", Assert.Single(File.ReadAllLines(Journal)));
    }

    [Theory]
    [InlineData("build", "now")]
    [InlineData("native", "--fresh")]
    public void Arguments_to_a_target_that_takes_none_are_refused(string target, string argument)
    {
        var error = Assert.ThrowsAny<RuntimeException>(() => RunWithStandIns($"{target} {argument}"));

        Assert.Contains($"'{target}' takes no arguments", error.Message);
        Assert.Contains(argument, error.Message);
        Assert.False(File.Exists(Journal));
    }

    [Theory]
    [InlineData("native", "cmake", 1)]
    [InlineData("native", "ctest", 3)]
    [InlineData("test", "dotnet", 1)]
    public void Failing_command_ends_the_script(string target, string failing, int commands)
    {
        var error = Assert.ThrowsAny<RuntimeException>(() => RunWithStandIns(target, failing));

        Assert.Contains($"Exit code 7 from: {failing} ", error.Message);
        Assert.Equal(commands, File.ReadAllLines(Journal).Length);
    }

    [Fact]
    public void Missing_program_ends_the_script()
    {
        var error = Assert.ThrowsAny<RuntimeException>(() => Run(Script, "native", program => Path.Combine(_folder, "absent", program)));

        Assert.Contains("cmake", error.Message);
    }

    [Fact]
    public void Caller_stays_where_it_was_even_after_a_failure()
    {
        SkipOnWindows();
        string output = Run(Script, "restore", StandIns(failing: "dotnet"), "Set-StrictMode -Off; try { {0} } catch { }; \"at $PWD\"");

        Assert.EndsWith($"at {Environment.CurrentDirectory}", output.TrimEnd());
    }

    [Fact]
    public void Real_dotnet_restores_and_its_failure_is_seen()
    {
        string script = Path.Combine(_folder, "build.ps1");
        string solution = Path.Combine(_folder, "MambaCuda.sln");
        File.Copy(Script, script);

        File.WriteAllText(solution, "Microsoft Visual Studio Solution File, Format Version 12.00\n");
        Assert.StartsWith("> dotnet restore", Run(script, "restore"));

        File.WriteAllText(solution, "not a solution\n");
        var error = Assert.ThrowsAny<RuntimeException>(() => Run(script, "restore"));
        Assert.Contains("Exit code 1 from: dotnet restore", error.Message);
    }

    private static string[] Targets => ["help", "restore", "build", "test", "format", "pack", "publish-aot", "bench", "native"];

    private void RunWithStandIns(string target, string? failing = null)
    {
        SkipOnWindows();
        Run(Script, target, StandIns(failing));
    }

    private static void SkipOnWindows() =>
        Assert.SkipWhen(OperatingSystem.IsWindows(), "The stand-ins for dotnet, cmake and ctest are Unix shell scripts.");

    // Links to one script of the repository: a script written here could not be run while another test's new process still had it open.
    private Func<string, string> StandIns(string? failing) => program =>
    {
        string link = Path.Combine(_folder, program);
        File.CreateSymbolicLink(link, Path.Combine(Fixtures.RepositoryRoot, "tests", "MambaCuda.Cli.Tests", "stand-in.sh"));
        if (program == failing)
        {
            File.WriteAllText($"{link}.fails", "");
        }

        return link;
    };

    /// <summary>Runs the script with arguments as typed; <paramref name="place"/> puts another program where a name is called.</summary>
    /// <returns>What the script wrote.</returns>
    private static string Run(string script, string arguments, Func<string, string>? place = null, string around = "{0}")
    {
        // An alias, not PATH: PATH belongs to the process, and other tests run in it at the same time.
        InitialSessionState state = InitialSessionState.CreateDefault2();
        foreach (string program in place is null ? [] : new[] { "dotnet", "cmake", "ctest" })
        {
            state.Commands.Add(new SessionStateAliasEntry(program, place!(program)));
        }

        using Runspace runspace = RunspaceFactory.CreateRunspace(state);
        runspace.Open();
        runspace.SessionStateProxy.SetVariable("ErrorActionPreference", "Stop");
        using PowerShell shell = PowerShell.Create(runspace);
        shell.AddScript(around.Replace("{0}", $"& '{script.Replace("'", "''")}' {arguments}"));
        return string.Join('\n', shell.Invoke().Select(line => line.ToString()));
    }
}
