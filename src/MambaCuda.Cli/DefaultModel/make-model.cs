// make-model.cs: the default model, made from the reference documentation that comes with the .NET SDK.
//
//   dotnet run src/MambaCuda.Cli/DefaultModel/make-model.cs -- OUTDIR [OPTION ...]
//
// Makes the text (make-corpus.cs), its tokens, trains by recipe.json and config.json beside this file, and leaves in OUTDIR
//   corpus/    the text and its tokens
//   run/       the run; where it was stopped, the same command goes on with it
//   model/     the files of this folder: config.json, model.safetensors in bf16, tokenizer.json
// It ends with the bits per byte of the held-out texts. Options are those of `mamba-cuda train` and go before the recipe:
// `--steps 4 --batch 1 --length 256 --device cpu` tries all of it without a GPU.

using System.Diagnostics;
using System.Runtime.CompilerServices;

if (args.Length == 0 || args[0].StartsWith('-'))
{
    Console.Error.WriteLine("usage: dotnet run make-model.cs -- OUTDIR [OPTION OF mamba-cuda train ...]");
    return 2;
}

string here = Path.GetDirectoryName(SourcePath())!, project = Path.GetFullPath(Path.Combine(here, ".."));
string output = Path.GetFullPath(args[0]), corpus = Path.Combine(output, "corpus"), run = Path.Combine(output, "run");
string tokens = Path.Combine(corpus, "train.tokens"), heldOut = Path.Combine(corpus, "heldout.tokens");
string model = Path.Combine(output, "model");

Dotnet("run", Path.Combine(here, "make-corpus.cs"), "--", corpus);
Dotnet("build", project, "-c", "Release", "-v", "quiet", "--nologo");
Tool("tokenize", Path.Combine(corpus, "train.bin"), "--tokenizer", "bytes", "--output", tokens, "--force");
Tool("tokenize", Path.Combine(corpus, "heldout.txt"), "--tokenizer", "bytes", "--output", heldOut, "--force");
Tool(
    ["train", tokens, "--held-out", heldOut, "--recipe", Path.Combine(here, "recipe.json"), "--config", Path.Combine(here, "config.json"),
        "--output", run, .. args[1..]]);

// Names of checkpoints are of one length, so the newest is the last by name.
string newest = Directory.GetDirectories(run, "step-*").Max(StringComparer.Ordinal)!;
Tool("convert", newest, model, "--dtype", "bf16");

// On the CPU, which computes in fp32 and gives the same figure on every machine.
foreach (string text in new[] { "heldout.txt", "heldout-sample.txt" })
{
    Tool("perplexity", Path.Combine(corpus, text), "--model", model, "--device", "cpu", "--json");
}

return 0;

void Tool(params string[] arguments) =>
    Dotnet([Path.Combine(project, "bin", "Release", "net10.0", "mamba-cuda.dll"), .. arguments]);

static void Dotnet(params string[] arguments)
{
    Console.WriteLine($"> dotnet {string.Join(' ', arguments)}");
    using Process process = Process.Start("dotnet", arguments);
    process.WaitForExit();
    if (process.ExitCode != 0) Environment.Exit(process.ExitCode);
}

static string SourcePath([CallerFilePath] string path = "") => path;
