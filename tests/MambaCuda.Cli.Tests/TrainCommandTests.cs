using System.Text.Encodings.Web;
using System.Text.Json;
using MambaCuda.Testing;
using MambaCuda.Training;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda train as its users meet it.</summary>
public sealed class TrainCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("nowhere"), InlineData("")]
    public async Task A_tokenizer_that_is_not_there_is_told(string name)
    {
        string text = _folder.Write("a.txt", "text"), tokens = _folder.File("a.tokens"), tokenizer = _folder.File(name);
        Assert.Equal(ExitCode.Done, (await Run("tokenize", text, "--output", tokens)).Code);
        (int code, string output, string error) = await Run("train", tokens, "--output", _folder.File("run"), "--tokenizer", tokenizer);
        Assert.Equal((ExitCode.BadFile, ""), (code, output));
        Assert.Contains(tokenizer, error, StringComparison.Ordinal);
        Assert.Contains("there is no such file", error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder.File("run")));
    }

    [Fact]
    public async Task Texts_are_made_into_tokens_in_the_run_s_folder_once()
    {
        string text = _folder.Write("a.txt", Words(200)), lines = _folder.Write("b.jsonl", $"{{\"body\":\"{Words(50)}\"}}\n");
        string run = _folder.File("run");
        string[] arguments = [.. Tiny(run), text, lines, "--field", "body"];
        (int code, string output, string error) = await Run([.. arguments, "--steps", "2"]);
        Assert.Equal((ExitCode.Done, Path.Combine(run, "step-0000000002") + Environment.NewLine), (code, output));
        string tokens = Assert.Single(Directory.GetFiles(run, "*.tokens"));
        string expected = _folder.File("expected.tokens");
        Assert.Equal(ExitCode.Done, (await Run("tokenize", text, lines, "--field", "body", "-o", expected)).Code);
        Assert.Equal(await Bytes(expected), await Bytes(tokens));

        // Its time shows that it is not made again, not even where a text's time is another.
        DateTime made = new(2020, 2, 2, 2, 2, 2, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(tokens, made);
        File.SetLastWriteTimeUtc(text, made);
        string leftover = Path.Combine(run, ".texts-0123.tokens.89ab.new");
        await File.WriteAllTextAsync(leftover, "half", TestContext.Current.CancellationToken);
        (code, _, error) = await Run([.. arguments, "--steps", "4"]);
        Assert.Equal(ExitCode.Done, code);
        Assert.DoesNotContain("have changed", error, StringComparison.Ordinal);
        Assert.Equal(made, File.GetLastWriteTimeUtc(Assert.Single(Directory.GetFiles(run, "*.tokens"))));
        Assert.False(File.Exists(leftover));

        _folder.Write("a.txt", Words(201));
        (code, _, error) = await Run([.. arguments, "--steps", "5"]);
        Assert.Equal(ExitCode.Done, code);
        Assert.Contains("have changed", error, StringComparison.Ordinal);
        Assert.NotEqual(tokens, Assert.Single(Directory.GetFiles(run, "*.tokens")));
    }

    [Fact]
    public async Task The_tokenizer_of_texts_goes_into_every_checkpoint()
    {
        string run = _folder.File("run"), text = _folder.Write("a.txt", Words(200));
        Assert.Equal(ExitCode.Done, (await Run([.. Tiny(run), text, "--steps", "2", "--checkpoint-every", "1"])).Code);
        string[] checkpoints = Directory.GetDirectories(run);
        Assert.Equal(2, checkpoints.Length);
        Assert.All(checkpoints, checkpoint => Assert.Equal(0, Tokenizer.Load(checkpoint).EndOfText));
        (int code, string output, _) = await Run("generate", "--model", checkpoints[0], "a", "-n", "3", "--device", "cpu");
        Assert.Equal(ExitCode.Done, code);
        Assert.StartsWith("a", output, StringComparison.Ordinal);

        // Trained further, a checkpoint reads texts by the tokenizer that it has.
        string further = _folder.File("further");
        File.WriteAllText(Path.Combine(checkpoints[0], "tokenizer_config.json"), "{}");
        string[] tuned = ["train", text, "--from", checkpoints[0], "-o", further, .. TinyBatches, "--steps", "1", "--device", "cpu"];
        Assert.Equal(ExitCode.Done, (await Run(tuned)).Code);
        Assert.All(
            ["tokenizer.json", "tokenizer_config.json"], name => Assert.True(File.Exists(Path.Combine(further, "step-0000000001", name)), name));
        File.Delete(Path.Combine(checkpoints[0], "tokenizer.json"));
        (code, _, string error) = await Run(tuned);
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("has no tokenizer.json", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_does_not_fit_is_refused_before_anything_is_made()
    {
        string text = _folder.Write("a.txt", Words(20)), tokens = _folder.File("a.tokens"), run = _folder.File("run");
        string damaged = _folder.Write("damaged.tokens", Words(20)), binary = _folder.Write("b.txt", [0x61, 0xFF]);
        string noEnd = _folder.Write("tokenizer.json", "{ \"type\": \"byte\" }");
        string other = _folder.Write("other.jsonl", "{\"body\":\"a\"}");
        Assert.Equal(ExitCode.Done, (await Run("tokenize", text, "--output", tokens)).Code);
        await Refused(ExitCode.Usage, "'data' missing");
        await Refused(ExitCode.Usage, "one alone, or texts", tokens, text);
        await Refused(ExitCode.Usage, "--field is for JSON lines", tokens, "--field", "body");
        await Refused(ExitCode.Usage, "no standard input", "-");
        await Refused(ExitCode.Usage, "lies in", _folder.Path);
        await Refused(ExitCode.Usage, "tokenize --no-eos", text, "--tokenizer", noEnd);
        await Refused(ExitCode.BadFile, "made by another tokenizer", tokens, "--tokenizer", noEnd);
        await Refused(ExitCode.BadFile, "this is not a token file", damaged);
        await Refused(ExitCode.BadFile, "there is no such file or folder", _folder.File("nowhere"));
        Assert.False(Directory.Exists(run));

        // These show only when the texts are read.
        await Refused(ExitCode.BadFile, "byte 1 is not UTF-8", binary);
        await Refused(ExitCode.BadFile, "choose one with --field", other);
        await Refused(ExitCode.Usage, "--validate-every 1 needs a part to measure", text, "--hold-out", "0", "--validate-every", "1");
        await Refused(ExitCode.Usage, "--hold-out: 1E-09 of", text, "--hold-out", "1e-9");
        await Refused(
            ExitCode.Usage, "--hold-out 0.05 is too little", text, "--length", "16", "--hold-out", "0.05", "--validate-every", "1");
        await Refused(ExitCode.BadFile, "Choose a shorter length", text, "--hold-out", "0");
        Assert.Empty(Directory.GetDirectories(run));

        async Task Refused(int expected, string named, params string[] arguments)
        {
            (int code, string output, string error) = await Run(["train", "--output", run, "--device", "cpu", .. arguments]);
            Assert.True((expected, "") == (code, output), $"{code} {error}");
            Assert.StartsWith("mamba-cuda: ", error, StringComparison.Ordinal);
            Assert.Contains(named, error, StringComparison.Ordinal);
            Assert.Single(error.TrimEnd().Split('\n'));
        }
    }

    /// <summary>A run of six steps is stopped behind the third, goes on, and is then the run that was never stopped.</summary>
    [Fact]
    public async Task A_run_that_is_stopped_goes_on_to_the_same_weights_and_metrics()
    {
        string text = _folder.Write("a.txt", Words(300)), whole = _folder.File("whole"), stopped = _folder.File("stopped");
        string[] rest =
        [
            text, "--steps", "6", "--warmup", "4", "--learning-rate", "0.01", "--schedule", "constant", "--batch", "3", "--length", "16",
            "--hold-out", "0.1", "--validate-every", "2", "--hidden", "16", "--layers", "2", "--device", "cpu", "--threads", "2",
        ];
        Assert.Equal(ExitCode.Done, (await Run(["train", "-o", whole, .. rest])).Code);
        using CancellationTokenSource cancellation = new();
        using StringWriter output = new();
        using CancelsAt error = new("step 3 of 6", cancellation);
        int cancelled = await CommandRunner.RunAsync(["train", "-o", stopped, .. rest], output, error, cancellation.Token);
        Assert.Equal(ExitCode.Cancelled, cancelled);
        Assert.Equal(Path.Combine(stopped, "step-0000000003"), Assert.Single(Directory.GetDirectories(stopped)));

        (int code, string checkpoint, string told) = await Run(["train", "-o", stopped, .. rest]);
        Assert.Equal((ExitCode.Done, Path.Combine(stopped, "step-0000000006")), (code, checkpoint.TrimEnd()));
        Assert.DoesNotContain("step 3 of 6", told, StringComparison.Ordinal);
        Assert.Contains("step 4 of 6: loss ", told, StringComparison.Ordinal);
        foreach (string file in new[] { "model.safetensors", "optimizer.bin", "tokenizer.json", "config.json" })
        {
            Assert.Equal(
                await Bytes(Path.Combine(whole, "step-0000000006", file)), await Bytes(Path.Combine(stopped, "step-0000000006", file)));
        }

        TrainingMetrics[] metrics = [.. MetricsLog.Read(Path.Combine(stopped, TrainingRun.MetricsFile))];
        Assert.Equal([1, 2, 3, 4, 5, 6], metrics.Select(step => (int)step.Step));
        Assert.Equal([48, 96, 144, 192, 240, 288], metrics.Select(step => (int)step.Tokens));
        Assert.Equal([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01], metrics.Select(step => step.LearningRate));
        Assert.All(metrics, step => Assert.Equal(step.Step % 2 == 0, step.ValidationLoss is not null));
        Assert.True(metrics[^1].Loss < metrics[0].Loss && metrics[^1].ValidationLoss < metrics[1].ValidationLoss, "Nothing was learned.");
        Assert.Equal(
            MetricsLog.Read(Path.Combine(whole, TrainingRun.MetricsFile)).Select(step => (step.Loss, step.ValidationLoss)),
            metrics.Select(step => (step.Loss, step.ValidationLoss)));
    }

    [Fact]
    public async Task The_recipe_of_a_run_repeats_it()
    {
        string text = _folder.Write("a.txt", Words(200)), first = _folder.File("first"), second = _folder.File("second");
        string recipe = Path.Combine(first, "recipe.json");
        (int code, _, string error) = await Run(
            [.. Tiny(first), text, "--steps", "12", "--pack", "--learning-rate", "3e-3", "--seed", "7"]);
        Assert.True(code == ExitCode.Done, error);
        Assert.Equal(
            $$"""
            {
              "data": [
                {{Json(text)}}
              ],
              "output": {{Json(first)}},
              "tokenizer": "bytes",
              "field": "text",
              "hidden": 16,
              "layers": 1,
              "batch": 2,
              "length": 16,
              "pack": true,
              "hold-out": 0,
              "seed": 7,
              "recompute": "mixer",
              "steps": 12,
              "learning-rate": 0.003,
              "schedule": "cosine",
              "warmup": 1,
              "floor": 1E-05,
              "weight-decay": 0.1,
              "clip": 1,
              "epsilon": 1E-08,
              "accumulate": 1,
              "segment": 0,
              "no-graph": false,
              "checkpoint-every": 0,
              "keep": 2,
              "validate-every": 0,
              "device": "cpu",
              "threads": 0,
              "no-cublaslt": false,
              "batch-invariant": false
            }

            """.ReplaceLineEndings("\n"),
            (await File.ReadAllTextAsync(recipe, TestContext.Current.CancellationToken)).ReplaceLineEndings("\n"));

        // In another folder it is run again; in its own there is nothing left to do.
        Assert.Equal(ExitCode.Done, (await Run("train", "--recipe", recipe, "--output", second)).Code);
        string model = Path.Combine("step-0000000012", "model.safetensors");
        Assert.Equal(await Bytes(Path.Combine(first, model)), await Bytes(Path.Combine(second, model)));
        Assert.Equal(
            await File.ReadAllTextAsync(recipe, TestContext.Current.CancellationToken),
            (await File.ReadAllTextAsync(Path.Combine(second, "recipe.json"), TestContext.Current.CancellationToken))
                .Replace(Json(second), Json(first), StringComparison.Ordinal));
        (code, string output, error) = await Run("train", "--recipe", recipe);
        Assert.Equal((ExitCode.Done, Path.Combine(first, "step-0000000012"), ""), (code, output.TrimEnd(), error));
    }

    [Fact]
    public async Task The_command_line_goes_before_the_recipe()
    {
        string text = _folder.Write("a.txt", Words(200)), run = _folder.File("run");
        string recipe = _folder.Write(
            "r.json",
            $$"""
            { "data": "/nowhere", "output": {{Json(run)}}, "hidden": 16, "layers": 1, "batch": 2, "length": 16, "hold-out": 0,
              "steps": 9, "learning-rate": 1e-2, "schedule": "constant", "pack": false, "device": "cpu" }
            """);
        (int code, string output, string error) = await Run("train", text, "--steps", "3", "--recipe", recipe, "--pack", "--verbose");
        Assert.Equal((ExitCode.Done, Path.Combine(run, "step-0000000003")), (code, output.TrimEnd()));
        Assert.Contains("device: ", error, StringComparison.Ordinal);
        string saved = await File.ReadAllTextAsync(Path.Combine(run, "recipe.json"), TestContext.Current.CancellationToken);
        Assert.Contains("\"pack\": true", saved, StringComparison.Ordinal);
        Assert.Contains("\"learning-rate\": 0.01", saved, StringComparison.Ordinal);
        Assert.DoesNotContain("floor", saved, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_wrong_with_a_recipe_is_told()
    {
        string text = _folder.Write("a.txt", Words(20)), run = _folder.File("run");
        await Refused("no option \"setps\"", "{ \"setps\": 3 }");
        await Refused("no option \"--steps\"", "{ \"--steps\": 3 }");
        await Refused("no option \"recipe\"", "{ \"recipe\": \"a\" }");
        await Refused("no option \"help\"", "{ \"help\": true }");
        await Refused("no option \"verbose\"", "{ \"verbose\": true }");
        await Refused("\"steps\" stands there twice", "{ \"steps\": 3, \"steps\": 4 }");
        await Refused("'many' for option '--steps'", "{ \"steps\": \"many\" }");
        await Refused("--steps", "{ \"steps\": 1.5 }");
        await Refused("'linear' not recognized", "{ \"schedule\": \"linear\" }");
        await Refused("\"steps\" is Array", "{ \"steps\": [3] }");
        await Refused("\"device\" is Null", "{ \"device\": null }");
        await Refused("\"data\" is Object", "{ \"data\": [{}] }");
        await Refused("one JSON object, but this is Array", "[]");
        await Refused("the recipe cannot be read", "{");
        File.Delete(_folder.File("r.json"));
        await Refused("the recipe cannot be read", null);
        Assert.False(Directory.Exists(run));

        async Task Refused(string named, string? recipe)
        {
            string path = recipe is null ? _folder.File("r.json") : _folder.Write("r.json", recipe);
            (int code, string output, string error) = await Run("train", text, "--output", run, "--recipe", path);
            Assert.True((ExitCode.BadFile, "") == (code, output), $"{code} {error}");
            Assert.StartsWith($"mamba-cuda: {path}: ", error, StringComparison.Ordinal);
            Assert.Contains(named, error, StringComparison.Ordinal);
            Assert.Single(error.TrimEnd().Split('\n'));
        }
    }

    [Theory]
    [InlineData("--output' is required", "train", "a")]
    [InlineData("--from says what the model is: leave --hidden out", "train", "a", "-o", "never", "--from", "b", "--hidden", "8")]
    [InlineData("--from says what the model is: leave --size out", "train", "a", "-o", "never", "--from", "b", "--size", "130m")]
    [InlineData("--from says what the model is: leave --config out", "train", "a", "-o", "never", "--from", "b", "--config", "c")]
    [InlineData("--config says what the model is: leave --size out", "train", "a", "-o", "never", "--config", "c", "--size", "130m")]
    [InlineData("--size says what the model is: leave --layers out", "train", "a", "-o", "never", "--layers", "8", "--size", "130m")]
    [InlineData("the learning rate falls after its warm-up of 5 steps", "train", "a", "-o", "never", "--warmup", "5", "--steps", "5")]
    [InlineData("needs one: name it by --from", "train", "a", "-o", "never", "--lora-rank", "4")]
    [InlineData("--lora-alpha is for adapters", "train", "a", "-o", "never", "--lora-alpha", "4")]
    [InlineData("cannot be of 'conv1d'", "train", "a", "-o", "never", "--from", "b", "--lora-rank", "4", "--lora-targets", "in_proj,conv1d")]
    [InlineData("must be from 1 to", "train", "a", "-o", "never", "--from", "b", "--lora-rank", "0")]
    [InlineData("warmupSteps", "train", "a", "-o", "never", "--warmup", "-1")]
    public async Task Options_that_do_not_go_together_are_refused(string named, params string[] arguments)
    {
        (int code, string output, string error) = await Run(arguments);
        Assert.Equal((ExitCode.Usage, ""), (code, output));
        Assert.Contains(named, error, StringComparison.OrdinalIgnoreCase);
        Assert.False(Directory.Exists("never"));
    }

    /// <summary>A configuration gives sizes that no option has; a file of its own is measured, and all of the data is trained on.</summary>
    [Fact]
    public async Task A_new_model_is_of_a_configuration_and_measured_on_a_file_of_its_own()
    {
        string text = _folder.Write("a.txt", Words(200)), other = _folder.Write("b.txt", Words(60)), run = _folder.File("run");
        string noEnd = _folder.Write("tokenizer.json", "{ \"type\": \"byte\" }");
        string tokens = _folder.File("b.tokens"), foreign = _folder.File("foreign.tokens");
        MambaConfig config = new() { VocabularySize = 256, HiddenSize = 16, LayerCount = 1, TimeStepRank = 3, EosTokenIds = [0] };
        string file = _folder.Write("config.json", config.ToJson());
        Assert.Equal(ExitCode.Done, (await Run("tokenize", other, "-o", tokens)).Code);
        Assert.Equal(ExitCode.Done, (await Run("tokenize", other, "-o", foreign, "--tokenizer", noEnd, "--no-eos")).Code);
        string[] arguments =
        [
            "train", text, "--config", file, "--batch", "2", "--length", "16", "--steps", "2", "--validate-every", "1", "--device", "cpu",
        ];
        (int code, string output, string error) = await Run([.. arguments, "-o", run, "--held-out", tokens]);
        Assert.True(code == ExitCode.Done, error);
        Assert.Equal(config, MambaConfig.Load(Path.Combine(output.TrimEnd(), "config.json")));
        double?[] losses = [.. MetricsLog.Read(Path.Combine(run, TrainingRun.MetricsFile)).Select(step => step.ValidationLoss)];
        Assert.All(losses, loss => Assert.InRange(loss!.Value, 1, 10));

        // The same on the run's own recipe, which says neither a share nor sizes.
        string recipe = Path.Combine(run, "recipe.json"), second = _folder.File("second");
        string said = await File.ReadAllTextAsync(recipe, TestContext.Current.CancellationToken);
        Assert.All(["hold-out", "hidden", "layers"], name => Assert.DoesNotContain($"\"{name}\"", said, StringComparison.Ordinal));
        (code, _, error) = await Run("train", "--recipe", recipe, "-o", second);
        Assert.True(code == ExitCode.Done, error);
        Assert.Equal(losses, MetricsLog.Read(Path.Combine(second, TrainingRun.MetricsFile)).Select(step => step.ValidationLoss));

        // Of a share of the text another loss is measured; both at once, or ids of another tokenizer, are refused.
        string third = _folder.File("third");
        Assert.Equal(ExitCode.Done, (await Run([.. arguments, "-o", third, "--hold-out", "0.3"])).Code);
        Assert.NotEqual(losses, MetricsLog.Read(Path.Combine(third, TrainingRun.MetricsFile)).Select(step => step.ValidationLoss));
        (code, _, error) = await Run([.. arguments, "-o", third, "--held-out", tokens, "--hold-out", "0.3"]);
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("leave --hold-out out", error, StringComparison.Ordinal);
        (code, _, error) = await Run([.. arguments, "-o", third, "--held-out", foreign]);
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("made by another tokenizer", error, StringComparison.Ordinal);
    }

    /// <summary>An adapter is trained, stopped, gone on with by the recipe, used as it is and merged.</summary>
    [Fact]
    public async Task An_adapter_is_trained_used_and_merged()
    {
        string text = _folder.Write("a.txt", Words(300)), merged = _folder.File("merged");
        string run = _folder.File("base"), lora = _folder.File("lora");
        Assert.Equal(ExitCode.Done, (await Run([.. Tiny(run), text, "--steps", "2"])).Code);
        string model = Assert.Single(Directory.GetDirectories(run));
        string[] arguments =
        [
            "train", text, "-o", lora, "--from", model, "--lora-rank", "2", "--learning-rate", "0.05", "--steps", "6", "--device", "cpu",
            .. TinyBatches,
        ];
        (int code, string output, string error) = await Run(arguments);
        Assert.True(ExitCode.Done == code, error);
        string adapter = output.TrimEnd();
        Assert.True(File.Exists(Path.Combine(adapter, "adapter_model.safetensors")));
        Assert.True(File.Exists(Path.Combine(adapter, "tokenizer.json")));
        Assert.False(File.Exists(Path.Combine(adapter, "model.safetensors")));
        string recipe = Path.Combine(lora, "recipe.json");
        string said = await File.ReadAllTextAsync(recipe, TestContext.Current.CancellationToken);
        Assert.Contains("\"lora-alpha\": 4", said, StringComparison.Ordinal);
        Assert.Contains("\"lora-targets\": \"in_proj,out_proj\"", said, StringComparison.Ordinal);
        (code, output, error) = await Run("train", "--recipe", recipe, "--steps", "8");
        Assert.True(ExitCode.Done == code, error);
        adapter = output.TrimEnd();
        Assert.EndsWith("step-0000000008", adapter, StringComparison.Ordinal);

        Assert.Equal(ExitCode.Done, (await Run("convert", model, merged, "--adapter", adapter)).Code);
        string plain = await Perplexity(model), adapted = await Perplexity(model, "--adapter", adapter);
        Assert.NotEqual(plain, adapted);
        Assert.Equal(adapted, await Perplexity(merged));
        string[] greedy = ["generate", "word", "-n", "4", "--device", "cpu", "--temperature", "0"];
        (code, output, error) = await Run([.. greedy, "--model", model, "--adapter", adapter]);
        Assert.True(ExitCode.Done == code, error);
        Assert.Equal(output, (await Run([.. greedy, "--model", merged])).Output);
        (code, _, error) = await Run("generate", "word", "--model", model, "--adapter", model);
        Assert.Equal(ExitCode.BadFile, code);
        Assert.Contains("holds no adapter_config.json", error, StringComparison.Ordinal);

        async Task<string> Perplexity(string folder, params string[] rest)
        {
            (int code, string output, string error) = await Run(["perplexity", text, "--model", folder, "--device", "cpu", "--json", .. rest]);
            Assert.True(ExitCode.Done == code, error);
            return output;
        }
    }

    private static string Json(string text) => $"\"{JsonEncodedText.Encode(text, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";

    private static string[] TinyBatches => ["--batch", "2", "--length", "16", "--hold-out", "0"];

    /// <summary>A run that takes moments; texts and steps are to be added.</summary>
    private static string[] Tiny(string run) =>
        ["train", "--output", run, "--hidden", "16", "--layers", "1", "--device", "cpu", .. TinyBatches];

    private static string Words(int count) => string.Join(' ', Enumerable.Range(0, count).Select(number => $"word{number * 7919 % 101}"));

    private static Task<byte[]> Bytes(string path) => File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);

    private static async Task<(int Code, string Output, string Error)> Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = await CommandRunner.RunAsync(arguments, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }

    /// <summary>Takes what a command writes, and cancels it at a line that begins so.</summary>
    private sealed class CancelsAt(string beginning, CancellationTokenSource cancellation) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            if (value?.StartsWith(beginning, StringComparison.Ordinal) == true)
            {
                cancellation.Cancel();
            }
        }
    }
}
