namespace MambaCuda.Validation;

/// <summary>One row of the table of state matrices, for every backend.</summary>
public sealed record StateMatrixCase(int Size, int Channels)
{
    private static readonly int[] Sizes = [1, 2, 16, 33];
    private static readonly int[] ChannelCounts = [1, 3, 31, 130, 257];

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => $"n{Size} c{Channels}";

    /// <summary>All pairs of sizes.</summary>
    public static IReadOnlyList<StateMatrixCase> All { get; } =
        [.. from size in Sizes from channels in ChannelCounts select new StateMatrixCase(size, channels)];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static StateMatrixCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The parameter, the same in every run.</summary>
    public float[] LogA() => new RandomValues(Name).Uniform(Size * Channels, -20, 20);

    /// <summary>The operands of the backward pass, the same in every run.</summary>
    public StateMatrixGradients Gradients()
    {
        RandomValues random = new(Name + " backward");
        int count = Size * Channels;
        return new StateMatrixGradients(random.Uniform(count, -16, 0), random.Normal(count), random.Normal(count));
    }
}

/// <summary>A, its gradient, and the gradient of A_log before that of this pass is added, all (states, channels).</summary>
public sealed record StateMatrixGradients(float[] A, float[] GradA, float[] GradLogA);
