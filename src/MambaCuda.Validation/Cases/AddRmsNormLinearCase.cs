using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of the table of norms with a linear layer behind, for every backend.</summary>
public sealed record AddRmsNormLinearCase(int Rows, int Outputs, int Inputs)
{
    /// <summary>Whether something is added to the residual stream.</summary>
    public bool WithX { get; init; } = true;

    /// <summary>Whether a bias is added.</summary>
    public bool Bias { get; init; }

    /// <summary>Whether y is float32 whatever the activations are, as logits are.</summary>
    public bool FloatResult { get; init; }

    /// <summary>How the layer's weight is quantized, or null.</summary>
    public WeightNumbers? Quantized { get; init; }

    /// <summary>How large the residual stream is.</summary>
    public float Scale { get; init; } = 1;

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => FormattableString.Invariant($"r{Rows} o{Outputs} i{Inputs}{(WithX ? " x" : "")}{(Bias ? " bias" : "")}")
        + (FloatResult ? " y-fp32" : "") + (Scale == 1 ? "" : FormattableString.Invariant($" times {Scale}"))
        + (Quantized is null ? "" : $" w-{Quantized}");

    /// <summary>
    /// One row and more, inputs of one piece a lane and of two, of one part and of several, and such as no kernel of its own takes; with
    /// weights of floats and of numbers.
    /// </summary>
    public static IReadOnlyList<AddRmsNormLinearCase> All { get; } =
    [
        new(1, 1, 8),
        new(1, 37, 264) { Bias = true },
        new(1, 300, 768) { FloatResult = true, Scale = 1e4f },
        new(1, 21, 1032) { WithX = false },
        new(1, 700, 2560) { Bias = true, FloatResult = true },
        new(1, 9, 8192) { Scale = 1e-3f },
        new(1, 5, 8200),
        new(1, 13, 33) { Bias = true },
        new(3, 37, 264),
        new(3, 40, 64) { WithX = false, FloatResult = true },
        .. from numbers in WeightNumbers.All
           from sizes in new AddRmsNormLinearCase[]
           {
               new(1, 1, 8),
               new(1, 37, 488) { Bias = true },
               new(1, 300, 768) { FloatResult = true, Scale = 1e4f },
               new(1, 21, 1000) { WithX = false },
               new(1, 21, 1032),
               new(1, 700, 2552) { Bias = true, FloatResult = true },
               new(3, 40, 72),
           }
           select sizes with { Quantized = numbers },
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static AddRmsNormLinearCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run.</summary>
    /// <param name="activation">The type of activations, which a weight of floats has too.</param>
    public AddRmsNormLinearInputs Operands(DataType activation)
    {
        AddRmsNormInputs norm = new AddRmsNormCase(Rows, Inputs) { WithX = WithX, Scale = Scale }.Inputs(activation);
        LinearInputs linear = Quantized is null
            ? new LinearCase(Rows, Outputs, Inputs, activation) { Bias = Bias, FloatResult = FloatResult }.Operands(activation)
            : new QuantizedLinearCase(Rows, Outputs, Inputs, Quantized.Type, Quantized.GroupSize) { Bias = Bias, FloatResult = FloatResult }
                .Operands(activation);
        return new AddRmsNormLinearInputs(norm, linear with { X = [] });
    }
}

/// <summary>The operands of both parts as plain arrays; the layer's x is the norm.</summary>
public sealed record AddRmsNormLinearInputs(AddRmsNormInputs Norm, LinearInputs Linear);
