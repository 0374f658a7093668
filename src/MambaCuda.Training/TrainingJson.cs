using System.Text.Json.Serialization;

namespace MambaCuda.Training;

/// <summary>
/// How records of training stand in JSON: snake_case, one line, unknown fields refused. Generated, so that it needs no reflection.
/// </summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectRequiredConstructorParameters = true,
    UseStringEnumConverter = true)]
[JsonSerializable(typeof(LearningRateSchedule))]
[JsonSerializable(typeof(TrainingMetrics))]
[JsonSerializable(typeof(TrainingProgress))]
[JsonSerializable(typeof(FailedBatch))]
internal sealed partial class TrainingJson : JsonSerializerContext;
