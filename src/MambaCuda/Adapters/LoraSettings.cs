using System.Globalization;

namespace MambaCuda;

/// <summary>
/// Which projections get a low-rank update, and of which size (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", section 4):
/// y = x W^T + scale x A^T B^T, W being frozen. The names are PEFT's.
/// </summary>
public sealed record LoraSettings
{
    /// <summary>The projections that can have one, in the order in which a block computes them.</summary>
    public static IReadOnlyList<string> Projections { get; } = ["in_proj", "x_proj", "dt_proj", "out_proj"];

    /// <summary>Rows of A and columns of B, positive.</summary>
    public int Rank { get; init; } = 16;

    /// <summary>What <see cref="Scale"/> is the rank's share of, positive.</summary>
    public double Alpha { get; init; } = 32;

    /// <summary>Whether the scale is alpha / sqrt(rank) (Kalajdzievski 2023), not alpha / rank.</summary>
    public bool RankStabilized { get; init; }

    /// <summary>Which of <see cref="Projections"/> get one, in every layer.</summary>
    public IReadOnlyList<string> Targets { get; init; } = ["in_proj", "out_proj"];

    /// <summary>What the update was trained on: a folder or a name, told to readers and not looked at; or null.</summary>
    public string? BaseModel { get; init; }

    /// <summary>What the update is multiplied by.</summary>
    public double Scale => Alpha / (RankStabilized ? Math.Sqrt(Rank) : Rank);

    /// <summary>Whether updates of the one have the tensors and the scale of the other.</summary>
    public bool IsLike(LoraSettings other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return Rank == other.Rank && Scale.Equals(other.Scale) && Targets.ToHashSet().SetEquals(other.Targets);
    }

    /// <summary>Rank, alpha and projections, for messages.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"rank {Rank}, alpha {Alpha}{(RankStabilized ? " by the root of the rank" : "")}, {string.Join(',', Targets)}");

    /// <summary>Throws where a setting is out of its range.</summary>
    /// <exception cref="ArgumentException">One is; the message names it.</exception>
    public void Validate()
    {
        if (Rank is < 1 or > ConfigLimits.Rank)
        {
            throw new ArgumentOutOfRangeException(nameof(Rank), Rank, $"The rank of an adapter must be from 1 to {ConfigLimits.Rank}.");
        }

        if (!(Alpha > 0 && double.IsFinite(Alpha)))
        {
            throw new ArgumentOutOfRangeException(nameof(Alpha), Alpha, "Alpha of an adapter must be positive.");
        }

        if (Targets is not { Count: > 0 } || Targets.Distinct().Count() != Targets.Count)
        {
            throw new ArgumentException("An adapter needs the names of projections, each once.", nameof(Targets));
        }

        if (Targets.FirstOrDefault(target => !Projections.Contains(target)) is { } unknown)
        {
            throw new ArgumentException(
                $"An adapter cannot be of {unknown.Quoted()}: the projections of a layer are {string.Join(", ", Projections)}.",
                nameof(Targets));
        }
    }

    /// <summary>The tensors of an adapter of such a model: for each layer and projection A (rank, inputs) and B (outputs, rank).</summary>
    public IEnumerable<ExpectedTensor> Tensors(MambaConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        Dictionary<string, ExpectedTensor> weights = config.Tensors().ToDictionary(tensor => tensor.Name);
        for (int layer = 0; layer < config.LayerCount; layer++)
        {
            foreach (string target in Projections.Where(Targets.Contains))
            {
                ExpectedTensor weight = weights[TensorNames.Projection(layer, target)];
                yield return new ExpectedTensor(TensorNames.LoraA(layer, target), Rank, weight.Shape[1]);
                yield return new ExpectedTensor(TensorNames.LoraB(layer, target), weight.Shape[0], Rank);
            }
        }
    }
}
