// score-heldout-sample.cs: the bits per byte of heldout-sample.txt under the default model, in float64 and without any code of the library.
//
//   dotnet run tests/MambaCuda.Tests/Data/score-heldout-sample.cs
//
// Writes heldout-sample.json, which DefaultModelTests holds the library to: to be run when the default model is another one. Takes a few
// minutes. The text is read in one pass from the zero state; all bytes but the first, which is given, are predicted.

using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text.Json;

const int Chunk = 2048;
const int Conv = 4;

string here = Path.GetDirectoryName(SourcePath())!;
string model = Path.GetFullPath(Path.Combine(here, "..", "..", "..", "src", "MambaCuda.Cli", "DefaultModel"));
byte[] text = File.ReadAllBytes(Path.Combine(here, "heldout-sample.txt"));
byte[] weights = File.ReadAllBytes(Path.Combine(model, "model.safetensors"));
using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(model, "config.json")));
int layers = Size("num_hidden_layers"), width = Size("hidden_size"), inner = Size("intermediate_size"), states = Size("state_size");
int rank = Size("time_step_rank");
double epsilon = config.RootElement.GetProperty("layer_norm_epsilon").GetDouble();
Dictionary<string, double[]> tensors = Tensors(weights);
double[] embedding = tensors["backbone.embeddings.weight"], finalNorm = tensors["backbone.norm_f.weight"];
double[][] history = [.. Enumerable.Range(0, layers).Select(_ => new double[(Conv - 1) * inner])];
double[][] scanStates = [.. Enumerable.Range(0, layers).Select(_ => new double[inner * states])];

double bits = 0;
for (int start = 0; start < text.Length - 1; start += Chunk)
{
    int count = Math.Min(Chunk, text.Length - 1 - start);
    double[] x = new double[count * width];
    for (int t = 0; t < count; t++) embedding.AsSpan(text[start + t] * width, width).CopyTo(x.AsSpan(t * width));
    for (int layer = 0; layer < layers; layer++) Block(layer, x, count);
    double[] logits = Linear(Norm(x, finalNorm, count), embedding, count, width, 256);
    for (int t = 0; t < count; t++)
    {
        double[] row = logits[(t * 256)..((t + 1) * 256)];
        double most = row.Max();
        bits += (most + Math.Log(row.Sum(value => Math.Exp(value - most))) - row[text[start + t + 1]]) / Math.Log(2);
    }
}

string golden = $$"""
    {
      "model": "src/MambaCuda.Cli/DefaultModel",
      "model_sha256": "{{Convert.ToHexStringLower(SHA256.HashData(weights))}}",
      "text": "heldout-sample.txt",
      "bytes": {{text.Length}},
      "predicted_bytes": {{text.Length - 1}},
      "total_bits": {{bits.ToString("f3", CultureInfo.InvariantCulture)}},
      "bits_per_byte": {{(bits / (text.Length - 1)).ToString("f6", CultureInfo.InvariantCulture)}}
    }

    """.ReplaceLineEndings("\n");
File.WriteAllText(Path.Combine(here, "heldout-sample.json"), golden);
Console.Write(golden);

// One layer of figure 3 of the Mamba paper, added to the residual stream x, (count, width).
void Block(int layer, double[] x, int count)
{
    string prefix = $"backbone.layers.{layer}.";
    double[] Of(string name) => tensors[$"{prefix}mixer.{name}"];
    double[] both = Linear(Norm(x, tensors[$"{prefix}norm.weight"], count), Of("in_proj.weight"), count, width, 2 * inner);
    double[] taps = Of("conv1d.weight"), convBias = Of("conv1d.bias"), before = history[layer];
    double[] u = new double[count * inner];
    double Input(int t, int c) => t >= 0 ? both[(t * 2 * inner) + c] : before[((t + Conv - 1) * inner) + c];
    Parallel.For(0, inner, c =>
    {
        for (int t = 0; t < count; t++)
        {
            double sum = convBias[c];
            for (int k = 0; k < Conv; k++) sum += taps[(c * Conv) + k] * Input(t - Conv + 1 + k, c);
            u[(t * inner) + c] = Silu(sum);
        }

        double[] last = [.. Enumerable.Range(count - Conv + 1, Conv - 1).Select(t => Input(t, c))];
        for (int k = 0; k < Conv - 1; k++) before[(k * inner) + c] = last[k];
    });

    int wide = rank + (2 * states);
    double[] projected = Linear(u, Of("x_proj.weight"), count, inner, wide);
    double[] low = new double[count * rank];
    for (int t = 0; t < count; t++) projected.AsSpan(t * wide, rank).CopyTo(low.AsSpan(t * rank));
    double[] delta = Linear(low, Of("dt_proj.weight"), count, rank, inner);
    double[] bias = Of("dt_proj.bias"), logA = Of("A_log"), skip = Of("D"), scan = scanStates[layer];
    Parallel.For(0, inner, c =>
    {
        Span<double> h = scan.AsSpan(c * states, states);
        double[] a = [.. logA.Skip(c * states).Take(states).Select(value => -Math.Exp(value))];
        for (int t = 0; t < count; t++)
        {
            double raw = delta[(t * inner) + c] + bias[c], input = u[(t * inner) + c], y = skip[c] * input;
            double dt = Math.Max(raw, 0) + Math.Log(1 + Math.Exp(-Math.Abs(raw)));
            for (int n = 0; n < states; n++)
            {
                int at = (t * wide) + rank + n;
                h[n] = (Math.Exp(dt * a[n]) * h[n]) + (dt * projected[at] * input);
                y += projected[at + states] * h[n];
            }

            delta[(t * inner) + c] = y * Silu(both[(t * 2 * inner) + inner + c]);
        }
    });
    double[] output = Linear(delta, Of("out_proj.weight"), count, inner, width);
    for (int i = 0; i < x.Length; i++) x[i] += output[i];
}

double[] Norm(double[] x, double[] weight, int count)
{
    double[] y = new double[x.Length];
    for (int t = 0; t < count; t++)
    {
        double scale = 1 / Math.Sqrt((Dot(x.AsSpan(t * width, width), x.AsSpan(t * width, width)) / width) + epsilon);
        for (int c = 0; c < width; c++) y[(t * width) + c] = x[(t * width) + c] * scale * weight[c];
    }

    return y;
}

// x (count, inputs) times the transpose of weight (outputs, inputs).
static double[] Linear(double[] x, double[] weight, int count, int inputs, int outputs)
{
    double[] y = new double[count * outputs];
    Parallel.For(0, count, t =>
    {
        for (int o = 0; o < outputs; o++) y[(t * outputs) + o] = Dot(x.AsSpan(t * inputs, inputs), weight.AsSpan(o * inputs, inputs));
    });
    return y;
}

static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
{
    Vector<double> sums = Vector<double>.Zero;
    int i = 0;
    for (; i <= a.Length - Vector<double>.Count; i += Vector<double>.Count)
    {
        sums += new Vector<double>(a[i..]) * new Vector<double>(b[i..]);
    }

    double sum = Vector.Sum(sums);
    for (; i < a.Length; i++) sum += a[i] * b[i];
    return sum;
}

static double Silu(double x) => x / (1 + Math.Exp(-x));

// bf16 safetensors: 8 bytes with the length of a JSON header, then the tensors.
static Dictionary<string, double[]> Tensors(byte[] file)
{
    int start = 8 + (int)BinaryPrimitives.ReadInt64LittleEndian(file);
    using JsonDocument header = JsonDocument.Parse(file.AsMemory(8, start - 8));
    return header.RootElement.EnumerateObject().Where(entry => entry.Name != "__metadata__").ToDictionary(entry => entry.Name, entry =>
    {
        if (entry.Value.GetProperty("dtype").GetString() != "BF16") throw new InvalidDataException($"{entry.Name} is not bf16.");
        int[] offsets = [.. entry.Value.GetProperty("data_offsets").EnumerateArray().Select(offset => offset.GetInt32())];
        double[] values = new double[(offsets[1] - offsets[0]) / 2];
        for (int i = 0; i < values.Length; i++)
        {
            int high = BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(start + offsets[0] + (2 * i)));
            values[i] = BitConverter.Int32BitsToSingle(high << 16);
        }

        return values;
    });
}

int Size(string name) => config.RootElement.GetProperty(name).GetInt32();

static string SourcePath([CallerFilePath] string path = "") => path;
