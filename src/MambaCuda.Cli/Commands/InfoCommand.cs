using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>mamba-cuda info: what a model is, and what this machine offers.</summary>
internal static class InfoCommand
{
    public static Command Create(TextWriter output, TextWriter error)
    {
        Option<string?> model = CommonOptions.Model();
        Option<bool> json = CommonOptions.Json();
        Command command = new(
            "info",
            """
            Show a model's sizes and memory, and this machine: processor, CUDA driver, NVRTC, GPUs, and where they were looked for.

            Examples:
              mamba-cuda info
              mamba-cuda info --model ./mamba-130m-hf --json
            """);
        command.Options.Add(model);
        command.Options.Add(json);
        command.SetAction(async (parsed, cancellation) =>
        {
            string folder = ModelLoader.FolderOf(parsed.GetValue(model));
            using Checkpoint checkpoint = Checkpoint.Open(folder);
            using CpuBackend backend = new();
            CudaReport cuda = CudaReport.Create();
            Summary summary = Summary.Of(checkpoint, backend);
            await output.WriteLineAsync(
                parsed.GetValue(json) ? Json(checkpoint, summary, backend, cuda) : Text(checkpoint, summary, backend, cuda));
            return ExitCode.Done;
        });
        return command;
    }

    private static string Text(Checkpoint checkpoint, Summary summary, CpuBackend backend, CudaReport cuda)
    {
        MambaConfig config = checkpoint.Config;
        string blocks = $"{config.LayerCount} layers, hidden {config.HiddenSize}, intermediate {config.IntermediateSize}";
        string scan = $"state {config.StateSize}, conv kernel {config.ConvKernel}, time step rank {config.TimeStepRank}";
        string ends = $"vocabulary {config.VocabularySize}{(config.TieEmbeddings ? ", tied embeddings" : "")}";
        string quantization = config.Quantization is { } quantized ? $"; projections and head quantized: {quantized}" : "";
        string tokens = $"{backend.PreferredChunkTokens} tokens or more on the CPU";
        return string.Create(CultureInfo.InvariantCulture, $"""
            model        {checkpoint.WeightsPath}
            sizes        {blocks}, {scan}, {ends}
            parameters   {summary.Parameters:N0}
            weights      {summary.WeightBytes:N0} bytes, {string.Join(", ", summary.Types)}{quantization}
            state        {summary.StateBytes:N0} bytes a sequence, whatever its length
            workspace    {summary.WorkspaceBytes:N0} bytes for a prompt of {tokens}, {summary.StepBytes:N0} for one token
            cpu          {backend.Description}
            auto         {(CudaBackend.WhyUnavailable() is { } problem ? $"cpu, not cuda: {problem}" : "cuda")}
            cubins       {KernelsCommand.Describe(cuda.NvrtcVersion)}
            {cuda.ToString().TrimEnd()}
            """);
    }

    private static string Json(Checkpoint checkpoint, Summary summary, CpuBackend backend, CudaReport cuda)
    {
        MambaConfig config = checkpoint.Config;
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
        {
            writer.WriteStartObject();
            writer.WriteStartObject("model");
            writer.WriteString("path", checkpoint.WeightsPath);
            writer.WriteNumber("layers", config.LayerCount);
            writer.WriteNumber("hidden_size", config.HiddenSize);
            writer.WriteNumber("intermediate_size", config.IntermediateSize);
            writer.WriteNumber("state_size", config.StateSize);
            writer.WriteNumber("conv_kernel", config.ConvKernel);
            writer.WriteNumber("time_step_rank", config.TimeStepRank);
            writer.WriteNumber("vocabulary_size", config.VocabularySize);
            writer.WriteBoolean("tied_embeddings", config.TieEmbeddings);
            writer.WriteString("quantization", config.Quantization?.ToString());
            writer.WriteNumber("parameters", summary.Parameters);
            writer.WriteNumber("weight_bytes", summary.WeightBytes);
            writer.WriteNumber("state_bytes", summary.StateBytes);
            writer.WriteNumber("workspace_bytes", summary.WorkspaceBytes);
            writer.WriteEndObject();
            writer.WriteStartObject("machine");
            writer.WriteString("cpu", backend.Description);
            writer.WriteString("auto", CudaBackend.WhyUnavailable() is null ? "cuda" : "cpu");
            writer.WriteString("cuda_problem", CudaBackend.WhyUnavailable());
            writer.WriteString("cuda_driver", cuda.DriverVersion?.ToString());
            writer.WriteString("cuda_driver_problem", cuda.DriverProblem);
            writer.WriteString("nvrtc", cuda.NvrtcVersion?.ToString());
            writer.WriteString("nvrtc_problem", cuda.NvrtcProblem);
            writer.WriteString("cubins", KernelsCommand.Describe(cuda.NvrtcVersion));
            writer.WriteStartArray("gpus");
            foreach (CudaDevice device in cuda.Devices)
            {
                writer.WriteStringValue(device.Name);
            }

            writer.WriteEndArray();
            writer.WriteStartArray("searched");
            foreach (LibraryAttempt attempt in cuda.DriverSearch.Attempts.Concat(cuda.NvrtcSearch.Attempts))
            {
                writer.WriteStringValue(attempt.ToString());
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private sealed record Summary(
        long Parameters, long WeightBytes, long StateBytes, long WorkspaceBytes, long StepBytes, IReadOnlyList<string> Types)
    {
        public static Summary Of(Checkpoint checkpoint, CpuBackend backend)
        {
            MambaConfig config = checkpoint.Config;
            return new Summary(
                config.Tensors().Sum(tensor => tensor.ElementCount),
                checkpoint.Tensors.Values.Sum(tensor => tensor.ByteLength),
                MambaState.BytesFor(config),
                MambaModel.WorkspaceBytes(config, backend, backend.PreferredChunkTokens),
                MambaModel.WorkspaceBytes(config, backend, 1),
                [.. checkpoint.Tensors.Values.Select(tensor => tensor.Type.ToString()).Distinct()]);
        }
    }
}
