using System.ComponentModel;
using System.Diagnostics;

namespace MambaCuda.Driver.Tests;

/// <summary>The system's C compiler; tests that need it are skipped where there is none.</summary>
internal static class CCompiler
{
    /// <summary>Compiles, and returns what the compiler complains about: nothing where all is well.</summary>
    public static string Run(params string[] arguments)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The stub driver is for Linux.");
        try
        {
            ProcessStartInfo start = new("cc", ["-std=c11", "-Wall", "-Werror", .. arguments]) { RedirectStandardError = true };
            using Process compiler = Process.Start(start)!;
            string complaints = compiler.StandardError.ReadToEnd();
            compiler.WaitForExit();
            Assert.True(compiler.ExitCode == 0 || complaints.Length > 0, $"cc ended with {compiler.ExitCode} and said nothing.");
            return complaints;
        }
        catch (Win32Exception)
        {
            Assert.Skip("There is no C compiler (cc).");
            return "";
        }
    }
}
