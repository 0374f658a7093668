using System.CommandLine;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda validate: whether every operation on the device at hand gives what float64 gives.</summary>
internal static class ValidateCommand
{
    public static Command Create(TextWriter output, TextWriter error)
    {
        Options options = new();
        Command command = new(
            "validate",
            """
            Hold every operation on the device at hand, in every variant that it has, against a reference in float64. A row is right when
            its error is at most twice that of a plain evaluation in the same type, plus rounding; NaN is not, nor is a byte written beside
            an output. Shown are the output that is worst beside its bound, and the kernels that were launched.

            The device is a CUDA card; where there is none the host device, which runs the same kernels on the CPU (native/host of the
            repository, built with g++); where that cannot be built the CPU's own code.

            Examples:
              mamba-cuda validate
              mamba-cuda validate --filter "SelectiveScanForward bf16 h0"
              mamba-cuda validate --filter wgmma --json
              mamba-cuda validate --device host --filter AddRmsNorm --dtype fp16
              compute-sanitizer mamba-cuda validate --small

            Exit codes: 0 every row passed, 1 a row failed, 2 the command line is wrong, or no row has the words of --filter; 130 cancelled.
            """);
        options.AddTo(command);
        command.SetAction((parsed, cancellation) => RunAsync(options, parsed, output, error, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(
        Options options, ParseResult parsed, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        ValidationDevice device = ValidationDevice.Choose(parsed.GetValue(options.Device)!, parsed.GetValue(options.HostDevice));
        using ValidationRun run = new(
            device.Open(DeviceOptions.TypeNamed(parsed.GetValue(options.Type))),
            device.Reason,
            parsed.GetValue(options.Filter),
            parsed.GetValue(options.Small));
        bool json = parsed.GetValue(options.Json);
        if (parsed.GetValue(options.List))
        {
            run.List(output, json);
            return ExitCode.Done;
        }

        return await run.RunAsync(output, error, json, cancellation);
    }

    private sealed class Options
    {
        public Option<string?> Filter { get; } = new("--filter")
        {
            Description = "Only rows with each of these words in operation, variant, type or shape.",
            HelpName = "WORDS",
        };

        public Option<string?> Type { get; } = new("--dtype")
        {
            Description = "One type of activations: bf16, fp16 or fp32. Left out: all that the device has.",
        };

        public Option<bool> Small { get; } = new("--small")
        {
            Description = "Only small shapes, for tools under which everything is slow.",
        };

        public Option<bool> List { get; } = new("--list") { Description = "Run nothing: list the rows." };

        public Option<bool> Json { get; } = CommonOptions.Json();

        public Option<string> Device { get; } = new("--device")
        {
            Description = "What to validate: cuda, host, cpu, or auto for the first of them that is there.",
            DefaultValueFactory = _ => "auto",
        };

        public Option<string?> HostDevice { get; } = new("--host-device")
        {
            Description = "The folder of the host device, built (libcuda.so.1, libnvrtc.so.13) or as sources (native/host). Left out: "
                + "MAMBACUDA_LIBRARY_PATH, or native/host in the current folder or above it.",
            HelpName = "FOLDER",
        };

        public void AddTo(Command command)
        {
            Type.AcceptOnlyFromAmong("bf16", "fp16", "fp32");
            Device.AcceptOnlyFromAmong("auto", "cuda", "host", "cpu");
            foreach (Option option in new Option[] { Filter, Type, Small, List, Json, Device, HostDevice })
            {
                command.Options.Add(option);
            }
        }
    }
}
