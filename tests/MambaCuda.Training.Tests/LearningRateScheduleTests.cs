using System.Text.Json;

namespace MambaCuda.Training.Tests;

/// <summary>Learning rates at the steps where the shapes turn, against values worked out by hand.</summary>
public sealed class LearningRateScheduleTests
{
    public static TheoryData<LearningRateSchedule, long, double> Values => new()
    {
        { LearningRateSchedule.Constant(2), 0, 2 },
        { LearningRateSchedule.Constant(2), 1_000_000, 2 },
        { LearningRateSchedule.Constant(2, 4), 0, 0.5 },
        { LearningRateSchedule.Constant(2, 4), 3, 2 },
        { LearningRateSchedule.Constant(2, 4), 4, 2 },
        { LearningRateSchedule.Cosine(3, 10, 110, 1), 0, 0.3 },
        { LearningRateSchedule.Cosine(3, 10, 110, 1), 9, 3 },
        { LearningRateSchedule.Cosine(3, 10, 110, 1), 10, 3 },
        { LearningRateSchedule.Cosine(3, 10, 110, 1), 35, 2 + Math.Sqrt(0.5) },
        { LearningRateSchedule.Cosine(3, 10, 110, 1), 60, 2 },
        { LearningRateSchedule.Cosine(3, 10, 110, 1), 110, 1 },
        { LearningRateSchedule.Cosine(3, 10, 110, 1), 500, 1 },
        { LearningRateSchedule.Cosine(3, 0, 1), 0, 3 },
        { LearningRateSchedule.WarmupStableDecay(4, 2, 100, 50), 1, 4 },
        { LearningRateSchedule.WarmupStableDecay(4, 2, 100, 50), 50, 4 },
        { LearningRateSchedule.WarmupStableDecay(4, 2, 100, 50), 75, 2 },
        { LearningRateSchedule.WarmupStableDecay(4, 2, 100, 50, 1), 75, 2.5 },
        { LearningRateSchedule.WarmupStableDecay(4, 2, 100, 50, 1), 101, 1 },
        { LearningRateSchedule.WarmupStableDecay(4, 2, 102, 100, 0, squareRoot: true), 27, 2 },
        { LearningRateSchedule.WarmupStableDecay(4, 2, 102, 100, 2, squareRoot: true), 66, 2.4 },
        { LearningRateSchedule.WarmupStableDecay(4, 2, 102, 100, 2, squareRoot: true), 102, 2 },
    };

    [Theory]
    [MemberData(nameof(Values))]
    public void The_learning_rate_of_a_step(LearningRateSchedule schedule, long step, double expected) =>
        Assert.Equal(expected, schedule.At(step), 12);

    public static TheoryData<string, LearningRateShape, double, long, long, double, long> Mistakes => new()
    {
        { "peak", LearningRateShape.Constant, 0, 0, 0, 0, 0 },
        { "peak", LearningRateShape.Constant, double.NaN, 0, 0, 0, 0 },
        { "peak", LearningRateShape.Constant, double.PositiveInfinity, 0, 0, 0, 0 },
        { "shape", (LearningRateShape)9, 1, 0, 10, 0, 0 },
        { "warmupSteps", LearningRateShape.Constant, 1, -1, 0, 0, 0 },
        { "totalSteps", LearningRateShape.Constant, 1, 0, 10, 0, 0 },
        { "totalSteps", LearningRateShape.Cosine, 1, 10, 10, 0, 0 },
        { "floor", LearningRateShape.Cosine, 1, 0, 10, 2, 0 },
        { "floor", LearningRateShape.Cosine, 1, 0, 10, double.NaN, 0 },
        { "floor", LearningRateShape.Cosine, 1, 0, 10, -1, 0 },
        { "decaySteps", LearningRateShape.Cosine, 1, 0, 10, 0, 1 },
        { "decaySteps", LearningRateShape.StableLinear, 1, 0, 10, 0, 0 },
        { "decaySteps", LearningRateShape.StableLinear, 1, 3, 10, 0, 8 },
    };

    [Theory]
    [MemberData(nameof(Mistakes))]
    public void A_mistake_names_the_number(
        string named, LearningRateShape shape, double peak, long warmup, long total, double floor, long decay) =>
        Assert.Equal(
            named,
            Assert.ThrowsAny<ArgumentException>(() => new LearningRateSchedule(shape, peak, warmup, total, floor, decay)).ParamName);

    [Fact]
    public void A_step_before_the_first_is_refused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => LearningRateSchedule.Constant(1).At(-1));

    [Fact]
    public void A_schedule_comes_back_from_JSON()
    {
        foreach (LearningRateSchedule schedule in new[]
        {
            LearningRateSchedule.Constant(1e-4, 3),
            LearningRateSchedule.Cosine(3, 10, 110, 1e-5),
            LearningRateSchedule.WarmupStableDecay(4, 2, 100, 50, 1, squareRoot: true),
        })
        {
            Assert.Equal(schedule, LearningRateSchedule.FromJson(schedule.ToJson()));
        }

        Assert.Equal(
            """{"shape":"cosine","peak":3,"warmup_steps":10,"total_steps":110,"floor":1E-05,"decay_steps":0}""",
            LearningRateSchedule.Cosine(3, 10, 110, 1e-5).ToJson());
        Assert.Equal(LearningRateSchedule.Constant(1), LearningRateSchedule.FromJson("""{"shape":"constant","peak":1}"""));
    }

    [Theory]
    [InlineData("null"), InlineData("[]"), InlineData("{}"), InlineData("""{"shape":"constant"}"""), InlineData("""{"peak":1}""")]
    [InlineData("""{"shape":"constant","peak":1,"warmup":3}"""), InlineData("""{"shape":"linear","peak":1}""")]
    public void JSON_that_is_no_schedule_is_refused(string json) =>
        Assert.Throws<JsonException>(() => LearningRateSchedule.FromJson(json));

    [Fact]
    public void JSON_with_a_number_out_of_range_is_refused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => LearningRateSchedule.FromJson("""{"shape":"constant","peak":-1}"""));
}
