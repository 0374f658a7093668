using System.Globalization;
using MambaCuda.Testing;
using MambaCuda.Training;

namespace MambaCuda.Cli.Tests;

/// <summary>mamba-cuda task as its users meet it, with models and data of no size.</summary>
public sealed class TaskCommandTests : IDisposable
{
    private static readonly string[] Tiny =
    [
        "--length", "12", "--batch", "2", "--hidden", "8", "--layers", "1", "--evaluate", "3", "--schedule", "constant", "--device", "cpu",
    ];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Induction_heads_are_measured_at_lengths_that_double()
    {
        string run = _folder.File("run");
        string[] arguments = ["task", "induction-heads", .. Tiny, "--longest", "256", "--output", run];
        Assert.Equal(ExitCode.Done, (await Run([.. arguments, "--steps", "2"])).Code);
        (int code, string output, string error) = await Run([.. arguments, "--steps", "3"]);
        Assert.True(code == ExitCode.Done, error);
        Assert.StartsWith("induction heads: 1 layers, width 8, ", output, StringComparison.Ordinal);
        Assert.Equal(
            ["| 64 | 3 | 3 |", "| 128 | 3 | 3 |", "| 256 | 3 | 3 |"],
            output.Split('\n').SkipWhile(line => !line.StartsWith("|--", StringComparison.Ordinal)).Skip(1).Where(line => line.Length > 0)
                .Select(line => line[..(line.LastIndexOf('|', line.LastIndexOf('|') - 1) + 1)]));
        Assert.Equal(output, await File.ReadAllTextAsync(Path.Combine(run, "results.md"), TestContext.Current.CancellationToken));

        // The second command went on where the first had ended.
        Assert.DoesNotContain("step 2 of 3", error, StringComparison.Ordinal);
        Assert.Equal([1, 2, 3], MetricsLog.Read(Path.Combine(run, TrainingRun.MetricsFile)).Select(step => (int)step.Step));
    }

    [Fact]
    public async Task The_checkpoint_with_the_least_loss_at_the_length_asked_for_is_evaluated()
    {
        string[] arguments =
        [
            "task", "induction-heads", .. Tiny, "--longest", "64", "--steps", "4", "--checkpoint-every", "1", "--learning-rate", "0.2", "--output",
        ];
        (int code, string output, string error) = await Run([.. arguments, _folder.File("run"), "--choose-at", "100"]);
        Assert.True(code == ExitCode.Done, error);
        (string Name, double Loss)[] measured =
        [
            .. error.Split('\n').Where(line => line.EndsWith(" at length 100", StringComparison.Ordinal))
                .Select(line => line.Split(' ', ','))
                .Select(words => (words[0].TrimEnd(':'), double.Parse(words[2], CultureInfo.InvariantCulture))),
        ];
        Assert.Equal(Enumerable.Range(1, 4).Select(step => $"step-{step:D10}"), measured.Select(one => one.Name));
        Assert.Equal(4, measured.DistinctBy(one => one.Loss).Count());
        Assert.Contains($", of which {measured.MinBy(one => one.Loss).Name} is evaluated", output, StringComparison.Ordinal);

        (code, output, error) = await Run([.. arguments, _folder.File("last"), "--choose-at", "0"]);
        Assert.True(code == ExitCode.Done, error);
        Assert.DoesNotContain("at length", error, StringComparison.Ordinal);
        Assert.Contains(", of which step-0000000004 is evaluated", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Selective_copying_repeats_with_its_seed()
    {
        string[] arguments = ["task", "selective-copying", .. Tiny, "--data-tokens", "3", "--steps", "2", "--seed", "5"];
        (int code, string output, string error) = await Run(arguments);
        Assert.True(code == ExitCode.Done, error);
        Assert.StartsWith("selective copying: 1 layers, width 8, ", output, StringComparison.Ordinal);
        Assert.Contains("| 12 | 3 | 9 | ", output, StringComparison.Ordinal);
        Assert.Equal(output, (await Run(arguments)).Output);
    }

    [Theory]
    [InlineData("--steps", "0"), InlineData("--vocabulary", "1"), InlineData("--learning-rate", "0")]
    public async Task A_number_out_of_its_range_is_one_line(string option, string value)
    {
        (int code, string output, string error) = await Run("task", "induction-heads", option, value);
        Assert.Equal((ExitCode.Usage, ""), (code, output));
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    private static async Task<(int Code, string Output, string Error)> Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = await CommandRunner.RunAsync(arguments, output, error, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }
}
