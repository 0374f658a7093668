using System.Diagnostics;

namespace MambaCuda.Driver.Tests;

/// <summary>The driver of StubDriver/libcuda.c, built where there is a C compiler.</summary>
internal static class StubDriver
{
    private static readonly Lazy<string?> Built = new(Build);

    /// <summary>Runs a method in a process whose CUDA driver is the stub; the test is skipped where that cannot be built.</summary>
    public static Task<string> Run(Action method, params (string Name, string Value)[] variables)
    {
        Assert.SkipWhen(Built.Value is null, "The stub driver is not built: no C compiler (cc), or not Linux.");
        Dictionary<string, string?> all = variables.ToDictionary(variable => variable.Name, variable => (string?)variable.Value);
        all[LibraryFinder.PathVariable] = Built.Value;
        all["CUDA_VISIBLE_DEVICES"] = null;
        return ChildProcess.Run(method, all);
    }

    private static string? Build()
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        string folder = Path.Combine(AppContext.BaseDirectory, "StubDriver");
        string library = Path.Combine(folder, "libcuda.so.1");
        ProcessStartInfo start = new("cc") { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (string argument in (string[])["-std=c11", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, Path.Combine(folder, "libcuda.c")])
        {
            start.ArgumentList.Add(argument);
        }

        try
        {
            using Process compiler = Process.Start(start)!;
            string errors = compiler.StandardError.ReadToEnd();
            compiler.WaitForExit();
            return compiler.ExitCode == 0 ? folder : throw new InvalidOperationException($"The stub driver does not compile:\n{errors}");
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
