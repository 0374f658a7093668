using System.CommandLine;
using System.Globalization;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda convert: writes a checkpoint in the Hugging Face layout.</summary>
internal static class ConvertCommand
{
    public static Command Create(TextWriter output, TextWriter error)
    {
        Argument<string> source = new("source") { Description = "A folder with a checkpoint in either layout." };
        Argument<string> destination = new("destination") { Description = "The folder to write; made where it is not there." };
        Option<string> type = new("--dtype")
        {
            Description = "The type of the weights: keep, fp32, bf16 or fp16.",
            DefaultValueFactory = _ => "keep",
        };
        type.AcceptOnlyFromAmong("keep", "fp32", "bf16", "fp16");
        Option<long?> shard = new("--max-shard-size")
        {
            Description = "Cut the weights into files of at most so many megabytes.",
            HelpName = "MB",
        };
        Option<string?> adapter = CommonOptions.Adapter();
        Command command = new(
            "convert",
            """
            Write a checkpoint in the Hugging Face layout (config.json, safetensors), in another type if wanted, with an adapter merged into
            its weights if wanted.

            Examples:
              mamba-cuda convert ./mamba-130m ./mamba-130m-hf
              mamba-cuda convert ./mamba-2.8b ./mamba-2.8b-bf16 --dtype bf16 --max-shard-size 2000
              mamba-cuda convert ./mamba-130m-hf ./tuned --adapter ./lora/step-0000001000
            """);
        command.Arguments.Add(source);
        command.Arguments.Add(destination);
        command.Options.Add(type);
        command.Options.Add(shard);
        command.Options.Add(adapter);
        command.SetAction(async (parsed, cancellation) =>
        {
            const long BytesPerMegabyte = 1_000_000;
            if (parsed.GetValue(shard) is <= 0)
            {
                throw new UsageException("--max-shard-size must be a positive number of megabytes.");
            }

            CheckpointSaveOptions options = new()
            {
                WeightType = parsed.GetValue(type) switch
                {
                    "fp32" => DataType.Float32,
                    "bf16" => DataType.BFloat16,
                    "fp16" => DataType.Float16,
                    _ => null,
                },
                LargestShard = parsed.GetValue(shard) is { } megabytes ? megabytes * BytesPerMegabyte : long.MaxValue,
            };
            string from = parsed.GetValue(source)!, to = parsed.GetValue(destination)!;
            await Task.Run(
                () => CheckpointConverter.Convert(from, to, options, adapter: parsed.GetValue(adapter), cancellationToken: cancellation),
                cancellation);
            long bytes = new DirectoryInfo(to).EnumerateFiles().Sum(file => file.Length);
            await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{to}: {bytes:N0} bytes"));
            return ExitCode.Done;
        });
        return command;
    }
}
