using System.Globalization;

namespace MambaCuda;

/// <summary>The names of a Mamba model's tensors in the Hugging Face layout, which are the canonical ones here.</summary>
public static class TensorNames
{
    private const string ScaleSuffix = "_scale";

    /// <summary>The embedding, [vocabulary, hidden].</summary>
    public const string Embedding = "backbone.embeddings.weight";

    /// <summary>The scale of the last RMSNorm, [hidden].</summary>
    public const string FinalNorm = "backbone.norm_f.weight";

    /// <summary>The output projection, [vocabulary, hidden]; absent where it is tied to the embedding.</summary>
    public const string Head = "lm_head.weight";

    /// <summary>The scale of a layer's RMSNorm, [hidden].</summary>
    public static string Norm(int layer) => Layer(layer, "norm.weight");

    /// <summary>The input projection, [2 intermediate, hidden]: first the rows of x, then those of z.</summary>
    public static string InProjection(int layer) => Layer(layer, "mixer.in_proj.weight");

    /// <summary>The bias of the input projection, [2 intermediate]; only with <see cref="MambaConfig.UseBias"/>.</summary>
    public static string InProjectionBias(int layer) => Layer(layer, "mixer.in_proj.bias");

    /// <summary>The depthwise convolution, [intermediate, 1, kernel]; the last tap is the newest input's.</summary>
    public static string Convolution(int layer) => Layer(layer, "mixer.conv1d.weight");

    /// <summary>The bias of the convolution, [intermediate]; only with <see cref="MambaConfig.UseConvBias"/>.</summary>
    public static string ConvolutionBias(int layer) => Layer(layer, "mixer.conv1d.bias");

    /// <summary>The projection that makes the scan's parameters, [rank + 2 state, intermediate]: rows of delta, of B, of C.</summary>
    public static string ScanProjection(int layer) => Layer(layer, "mixer.x_proj.weight");

    /// <summary>The projection of delta to all channels, [intermediate, rank].</summary>
    public static string TimeStepProjection(int layer) => Layer(layer, "mixer.dt_proj.weight");

    /// <summary>The bias of delta, [intermediate].</summary>
    public static string TimeStepBias(int layer) => Layer(layer, "mixer.dt_proj.bias");

    /// <summary>log(-A), [intermediate, state].</summary>
    public static string LogA(int layer) => Layer(layer, "mixer.A_log");

    /// <summary>The skip connection D, [intermediate].</summary>
    public static string Skip(int layer) => Layer(layer, "mixer.D");

    /// <summary>The output projection of the layer, [hidden, intermediate].</summary>
    public static string OutProjection(int layer) => Layer(layer, "mixer.out_proj.weight");

    /// <summary>The bias of the layer's output projection, [hidden]; only with <see cref="MambaConfig.UseBias"/>.</summary>
    public static string OutProjectionBias(int layer) => Layer(layer, "mixer.out_proj.bias");

    /// <summary>The weight of one of <see cref="LoraSettings.Projections"/>.</summary>
    public static string Projection(int layer, string projection) => Layer(layer, $"mixer.{projection}.weight");

    /// <summary>The factor of a low-rank update that reads, [rank, inputs], as PEFT names it.</summary>
    public static string LoraA(int layer, string projection) => Adapted(layer, $"mixer.{projection}.lora_A.weight");

    /// <summary>The factor of a low-rank update that writes, [outputs, rank], as PEFT names it.</summary>
    public static string LoraB(int layer, string projection) => Adapted(layer, $"mixer.{projection}.lora_B.weight");

    /// <summary>The scales of a quantized weight, [outputs, groups].</summary>
    /// <param name="weight">The name of the weight.</param>
    public static string Scales(string weight) => weight + ScaleSuffix;

    /// <summary>The weight whose scales have a name; null where it is no name of scales.</summary>
    internal static string? OfScales(string name) =>
        name.EndsWith("weight" + ScaleSuffix, StringComparison.Ordinal) ? name[..^ScaleSuffix.Length] : null;

    /// <summary>Whether it is a weight that activations are multiplied with: the head, or a projection of a layer.</summary>
    internal static bool IsMultiplied(string name) =>
        name == Head || LoraSettings.Projections.Any(projection => name.EndsWith($"mixer.{projection}.weight", StringComparison.Ordinal));

    /// <summary>The canonical name of a tensor that a checkpoint of either layout names so.</summary>
    internal static string Canonical(string name) => name == "backbone.embedding.weight" ? Embedding : name;

    private static string Adapted(int layer, string rest) => $"base_model.model.{Layer(layer, rest)}";

    private static string Layer(int layer, string rest) => string.Create(CultureInfo.InvariantCulture, $"backbone.layers.{layer}.{rest}");
}
