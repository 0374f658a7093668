using System.Text;
using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>The log survives a kill at any byte, and a resumed run writes what the first would have written.</summary>
public sealed class MetricsLogTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static TrainingMetrics Step(long step) => new(
        step, step * 1000, 1.5 / step, 1e-4, 0.25, 12345.5, step * 2, step == 3 ? null : 10, step == 2 ? 1.25 : null);

    private string Written(params ReadOnlySpan<long> steps)
    {
        string path = _folder.File("metrics.jsonl");
        File.Delete(path);
        using MetricsLog log = MetricsLog.Open(path);
        foreach (long step in steps)
        {
            log.Append(Step(step));
        }

        return path;
    }

    [Fact]
    public void Steps_come_back_and_nothing_that_is_not_known_stands_in_the_file()
    {
        string path = Written(1, 2, 3);
        Assert.Equal([Step(1), Step(2), Step(3)], MetricsLog.Read(path));
        string[] lines = File.ReadAllLines(path);
        Assert.Equal(
            """{"step":1,"tokens":1000,"loss":1.5,"learning_rate":0.0001,"gradient_norm":0.25,"tokens_per_second":12345.5,"seconds":2,"""
            + "\"eta_seconds\":10}",
            lines[0]);
        Assert.Contains("\"validation_loss\":1.25", lines[1], StringComparison.Ordinal);
        Assert.DoesNotContain("eta", lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public void A_failed_step_is_logged_too()
    {
        string path = _folder.File("metrics.jsonl");
        using (MetricsLog log = MetricsLog.Open(path))
        {
            log.Append(Step(1) with { Loss = double.NaN, GradientNorm = double.PositiveInfinity });
        }

        Assert.Equal(Step(1) with { Loss = double.NaN, GradientNorm = double.PositiveInfinity }, Assert.Single(MetricsLog.Read(path)));
    }

    [Fact]
    public void Killed_at_any_byte_and_resumed_it_is_the_file_of_the_whole_run()
    {
        byte[] whole = File.ReadAllBytes(Written(1, 2, 3, 4));
        for (int length = 0; length <= whole.Length; length++)
        {
            string path = _folder.Write("killed.jsonl", whole.AsSpan(0, length));
            int lines = whole.AsSpan(0, length).Count((byte)'\n');
            Assert.Equal(lines, MetricsLog.Read(path).Count);

            // The last checkpoint was one step before the last whole line; or there was none.
            long resumed = Math.Max(0, lines - 1);
            using (MetricsLog log = MetricsLog.Open(path, resumed))
            {
                for (long step = resumed + 1; step <= 4; step++)
                {
                    log.Append(Step(step));
                }
            }

            Assert.Equal(whole, File.ReadAllBytes(path));
        }
    }

    [Fact]
    public void A_line_that_is_no_step_is_named()
    {
        string path = Written(1, 2);
        File.AppendAllText(path, "{\"step\":3}\n");
        Assert.Contains("line 3", Assert.Throws<InvalidDataException>(() => MetricsLog.Open(path, 5)).Message, StringComparison.Ordinal);
        Assert.Contains(path, Assert.Throws<InvalidDataException>(() => MetricsLog.Read(path)).Message, StringComparison.Ordinal);

        // A step that is cut away need not be understood.
        MetricsLog.Open(path, 1).Dispose();
        Assert.Equal([Step(1)], MetricsLog.Read(path));
    }

    [Fact]
    public void A_log_that_is_being_written_can_be_read()
    {
        string path = _folder.File("metrics.jsonl");
        using MetricsLog log = MetricsLog.Open(path);
        Assert.Empty(MetricsLog.Read(path));
        log.Append(Step(1));
        Assert.Equal([Step(1)], MetricsLog.Read(path));
    }

    [Fact]
    public void A_hostile_log_is_refused_or_read()
    {
        byte[] original = File.ReadAllBytes(Written(1, 2, 3, 4, 5));
        int refused = HostileFiles.Check(
            seed => FileMutation.Of(original, seed),
            bytes =>
            {
                string path = _folder.Write("hostile.jsonl", bytes);
                int read = MetricsLog.Read(path).Count;
                MetricsLog.Open(path, long.MaxValue).Dispose();
                Assert.Equal(read, Encoding.UTF8.GetString(File.ReadAllBytes(path)).Count(character => character == '\n'));
            },
            e => e is InvalidDataException);
        Assert.InRange(refused, HostileFiles.Count / 4, HostileFiles.Count - 1);
    }
}
