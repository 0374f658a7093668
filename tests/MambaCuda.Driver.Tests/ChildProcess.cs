using System.Diagnostics;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace MambaCuda.Driver.Tests;

/// <summary>
/// Runs a part of a test in a process of its own: this program again, told by a variable to run one method instead of the tests.
/// For what a process has only once (the driver, an error that loses the context), and for many processes at once.
/// </summary>
internal static class ChildProcess
{
    private const string Variable = "MAMBACUDA_TEST_CHILD";

    // What hangs is ended; what only waits for a processor that other builds and tests share is not.
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>Runs a private static method of a test class with texts as arguments, and returns what it wrote.</summary>
    /// <param name="method">A method that takes texts and returns nothing.</param>
    /// <param name="variables">Variables of the process; null removes one.</param>
    /// <param name="arguments">What it is called with.</param>
    public static async Task<string> Run(Delegate method, IReadOnlyDictionary<string, string?> variables, params string[] arguments)
    {
        string program = Environment.ProcessPath!;
        ProcessStartInfo start = new(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        if (Path.GetFileNameWithoutExtension(program).Equals("dotnet", StringComparison.OrdinalIgnoreCase))
        {
            start.ArgumentList.Add(typeof(ChildProcess).Assembly.Location);
        }

        start.Environment[Variable] = string.Join('\n', [method.Method.DeclaringType!.FullName!, method.Method.Name, .. arguments]);
        foreach ((string name, string? value) in variables)
        {
            start.Environment[name] = value;
        }

        using Process process = Process.Start(start)!;
        using CancellationTokenSource limit = new(Limit);
        Task<string> output = process.StandardOutput.ReadToEndAsync(limit.Token);
        Task<string> errors = process.StandardError.ReadToEndAsync(limit.Token);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException exception)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException(
                $"{method.Method.Name}({string.Join(", ", arguments)}) had not ended after {Limit.TotalMinutes} minutes.", exception);
        }

        Assert.True(process.ExitCode == 0, $"The process ended with {process.ExitCode}.\n{await output}\n{await errors}");
        return await output;
    }

    [ModuleInitializer]
    internal static void RunWhereChild()
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } call)
        {
            return;
        }

        string[] parts = call.Split('\n');
        try
        {
            MethodInfo method = Type.GetType(parts[0])!.GetMethod(parts[1], BindingFlags.NonPublic | BindingFlags.Static)!;
            method.Invoke(null, [.. parts[2..]]);
            Environment.Exit(0);
        }
        catch (TargetInvocationException exception)
        {
            Console.Error.WriteLine(exception.InnerException);
            Environment.Exit(1);
        }
    }
}
