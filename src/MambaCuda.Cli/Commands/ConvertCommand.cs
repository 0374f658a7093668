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
        Option<string?> quantize = new("--quantize")
        {
            Description = "Store the projections and the head as whole numbers with scales: int8 or int4.",
            HelpName = "TYPE",
        };
        quantize.AcceptOnlyFromAmong("int8", "int4");
        Option<int?> groupSize = new("--group-size")
        {
            Description = "How many weights share a scale: 64 or 128 with int8 (128 if left out), 32, 64 or 128 with int4 (32 if left out).",
            HelpName = "N",
        };
        Command command = new(
            "convert",
            """
            Write a checkpoint in the Hugging Face layout (config.json, safetensors), in another type if wanted, with an adapter merged into
            its weights if wanted, quantized if wanted. A quantized checkpoint is this program's own; it runs, but is not trained or merged.

            Examples:
              mamba-cuda convert ./mamba-130m ./mamba-130m-hf
              mamba-cuda convert ./mamba-2.8b ./mamba-2.8b-bf16 --dtype bf16 --max-shard-size 2000
              mamba-cuda convert ./mamba-130m-hf ./tuned --adapter ./lora/step-0000001000
              mamba-cuda convert ./mamba-2.8b ./mamba-2.8b-int4 --dtype bf16 --quantize int4
            """);
        command.Arguments.Add(source);
        command.Arguments.Add(destination);
        command.Options.Add(type);
        command.Options.Add(shard);
        command.Options.Add(adapter);
        command.Options.Add(quantize);
        command.Options.Add(groupSize);
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
            QuantizationConfig? quantization = Quantization(parsed.GetValue(quantize), parsed.GetValue(groupSize));
            string from = parsed.GetValue(source)!, to = parsed.GetValue(destination)!;
            await Task.Run(
                () => CheckpointConverter.Convert(
                    from, to, options, adapter: parsed.GetValue(adapter), quantization: quantization, cancellationToken: cancellation),
                cancellation);
            long bytes = new DirectoryInfo(to).EnumerateFiles().Sum(file => file.Length);
            await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{to}: {bytes:N0} bytes"));
            return ExitCode.Done;
        });
        return command;
    }

    private static QuantizationConfig? Quantization(string? name, int? groupSize)
    {
        if (name is null)
        {
            return groupSize is null ? null : throw new UsageException("--group-size is of weights that --quantize makes; give both.");
        }

        QuantizedType type = name == "int8" ? QuantizedType.Int8 : QuantizedType.Int4;
        IReadOnlyList<int> sizes = QuantizedLayout.GroupSizesOf(type);
        return groupSize is { } size && !sizes.Contains(size)
            ? throw new UsageException($"--group-size {size}: with {name}, it is {string.Join(" or ", sizes)}.")
            : new QuantizationConfig(type, groupSize ?? QuantizationConfig.UsualGroupSize(type));
    }
}
