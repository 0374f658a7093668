using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda kernels: kernels compiled ahead of time, so that a card's first use compiles nothing.</summary>
internal static class KernelsCommand
{
    public static Command Create(TextWriter output, TextWriter error)
    {
        Command command = new(
            "kernels",
            """
            Compile kernels ahead of time, which a card else does at first use.

            Examples:
              mamba-cuda kernels build --arch 90 --output ./cubins
            """);
        command.Subcommands.Add(Build(output, error));
        return command;
    }

    /// <summary>What of the application's folder fits this program.</summary>
    /// <param name="compiler">NVRTC's version; null where there is none, and then all kernels count.</param>
    public static string Describe(CudaVersion? compiler)
    {
        CubinFolder? folder = CubinFolder.OfApplication;
        if (folder is null)
        {
            return $"none ({CubinFolder.PathVariable}, or cubins beside the program)";
        }

        IEnumerable<string> fits =
            from capability in folder.Capabilities
            let all = KernelInstance.All(capability, compiler ?? new CudaVersion(int.MaxValue, 0))
            select string.Create(
                CultureInfo.InvariantCulture,
                $"sm_{capability.Number} {all.Count(instance => instance.IsIn(folder))} of {all.Count} kernels are of this version");
        return $"{folder.Path}: {string.Join(", ", fits.DefaultIfEmpty("none"))}";
    }

    private static Command Build(TextWriter output, TextWriter error)
    {
        Option<int[]> architectures = new("--arch")
        {
            Description = "Compute capabilities without the dot, as in 90. Left out: those of the cards here.",
            AllowMultipleArgumentsPerToken = true,
            HelpName = "N",
        };
        Option<string> folder = new("--output", "-o")
        {
            Description = "The folder; a card finds it by MAMBACUDA_CUBIN_PATH, or as cubins beside the program.",
            Required = true,
            HelpName = "DIR",
        };
        Option<string?> filter = new("--filter")
        {
            Description = "Only kernels with each of these words in file or C++ name.",
            HelpName = "WORDS",
        };
        Command command = new(
            "build",
            """
            Compile every kernel for an architecture by NVRTC; no GPU is needed. What is there already, of the same sources, stays. The same
            program takes the result in place of compiling where the card's architecture is the same; another version's is never taken.

            Examples:
              mamba-cuda kernels build --output ./cubins
              mamba-cuda kernels build --arch 80 90 --output ./cubins --filter "selective_scan bf16"

            Exit codes: 0 done, 1 NVRTC compiles for none of the architectures, 2 the command line is wrong, 3 the folder cannot be written.
            """);
        command.Options.Add(architectures);
        command.Options.Add(folder);
        command.Options.Add(filter);
        command.SetAction((parsed, cancellation) => Task.Run(
            () => Run(
                Capabilities(parsed.GetValue(architectures) ?? []),
                new CubinFolder(parsed.GetValue(folder)!),
                parsed.GetValue(filter),
                output,
                error,
                cancellation),
            cancellation));
        return command;
    }

    private static ComputeCapability[] Capabilities(int[] numbers)
    {
        IEnumerable<ComputeCapability> capabilities = numbers.Length > 0
            ? numbers.Select(ComputeCapability.FromNumber)
            : CudaDevice.All.Select(device => device.ComputeCapability);
        ComputeCapability[] all = [.. capabilities.Distinct().Order()];
        return all.Length > 0 ? all : throw new UsageException("There is no card here; say by --arch what to compile for.");
    }

    private static int Run(
        ComputeCapability[] capabilities, CubinFolder folder, string? filter, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        RuntimeCompiler nvrtc = RuntimeCompiler.Load();
        KernelCompiler compiler = new(nvrtc, cache: null);
        bool any = false;
        foreach (ComputeCapability capability in capabilities)
        {
            if (capability < CudaBackend.OldestCapability || !nvrtc.SupportedArchitectures.Contains(capability))
            {
                error.WriteLine($"sm_{capability.Number}: not made; NVRTC {nvrtc.Version} or this program is not for it.");
                continue;
            }

            any = true;
            ILookup<string, KernelInstance> files = Wanted(KernelInstance.All(capability, nvrtc.Version), filter).ToLookup(each => each.File);
            foreach (IGrouping<string, KernelInstance> file in files.OrderBy(file => file.Key, StringComparer.Ordinal))
            {
                long start = Stopwatch.GetTimestamp();
                KernelInstance[] missing = [.. file.Where(instance => !instance.IsIn(folder))];
                foreach (KernelInstance instance in missing)
                {
                    cancellation.ThrowIfCancellationRequested();
                    instance.CompileInto(folder, compiler);
                }

                output.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"sm_{capability.Number} {file.Key}: {missing.Length} compiled, {file.Count() - missing.Length} there already, "
                    + $"{Stopwatch.GetElapsedTime(start).TotalSeconds:f1} s"));
            }
        }

        return any ? ExitCode.Done : ExitCode.Failed;
    }

    private static KernelInstance[] Wanted(IReadOnlyList<KernelInstance> all, string? filter)
    {
        string[] words = filter?.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) ?? [];
        KernelInstance[] wanted = [.. all.Where(instance => words.All(word =>
            $"{instance.File} {instance.Expression}".Contains(word, StringComparison.OrdinalIgnoreCase)))];
        return wanted.Length > 0 ? wanted : throw new UsageException($"No kernel has '{filter}' in its file or name.");
    }
}
