using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The operands of a selective scan on a backend, guard words around each.</summary>
internal sealed class SelectiveScanOperands : IDisposable
{
    private readonly SelectiveScanInputs _inputs;

    /// <summary>Puts them there; those that are written too are guarded as such.</summary>
    public SelectiveScanOperands(
        Backend backend, SelectiveScanInputs inputs, int gap, ScanOutput output = ScanOutput.OwnMemory, bool deltaIsWritten = false)
    {
        _inputs = inputs;
        int tokens = inputs.Tokens, channels = inputs.Channels;
        DataType activation = backend.ActivationType;
        GuardedMatrix Activation(float[] values, bool written) => written
            ? GuardedMatrix.Output(backend, activation, tokens, channels, values, gap)
            : GuardedMatrix.Input(backend, activation, tokens, channels, values, gap);
        GuardedMatrix InputMatrix(float[] values, bool constant) => constant
            ? GuardedMatrix.Input(backend, DataType.Float32, inputs.StateRows, channels, values, gap)
            : gap == GuardedMatrix.AlignedGap
            ? GuardedMatrix.AlignedInput(backend, activation, tokens, inputs.Groups * inputs.StateRows, values)
            : GuardedMatrix.Input(backend, activation, tokens, inputs.Groups * inputs.StateRows, values, gap);
        GuardedMatrix? PerChannel(float[]? values) => values is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, 1, channels, values, gap);

        U = Activation(inputs.U, output == ScanOutput.OverU);
        Delta = Activation(inputs.Delta, deltaIsWritten);
        Z = inputs.Z is null ? null : Activation(inputs.Z, output == ScanOutput.OverZ);
        A = GuardedMatrix.Input(backend, DataType.Float32, inputs.StateSize, channels, inputs.A, gap);
        AImaginary = inputs.AImaginary is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, inputs.StateSize, channels, inputs.AImaginary, gap);
        B = InputMatrix(inputs.B, inputs.ConstantB);
        C = InputMatrix(inputs.C, inputs.ConstantC);
        D = PerChannel(inputs.D);
        DeltaBias = PerChannel(inputs.DeltaBias);
    }

    public GuardedMatrix U { get; }

    public GuardedMatrix Delta { get; }

    public GuardedMatrix? Z { get; }

    public GuardedMatrix A { get; }

    public GuardedMatrix? AImaginary { get; }

    public GuardedMatrix B { get; }

    public GuardedMatrix C { get; }

    public GuardedMatrix? D { get; }

    public GuardedMatrix? DeltaBias { get; }

    /// <summary>The arguments of the forward pass, without states and results.</summary>
    public SelectiveScanForwardArgs Args => new()
    {
        U = U.View,
        Delta = Delta.View,
        A = A.View,
        AImaginary = AImaginary?.View ?? default,
        B = B.View,
        C = C.View,
        D = D?.View ?? default,
        Z = Z?.View ?? default,
        DeltaBias = DeltaBias?.View ?? default,
        DeltaSoftplus = _inputs.DeltaSoftplus,
        ConstantB = _inputs.ConstantB,
        ConstantC = _inputs.ConstantC,
        Sequences = SequenceLayout.Packed(_inputs.Lengths, _inputs.Slots),
    };

    private IEnumerable<(string Name, GuardedMatrix? Matrix)> All =>
    [
        ("u", U), ("delta", Delta), ("z", Z), ("A", A), ("imaginary part of A", AImaginary), ("B", B), ("C", C), ("D", D),
        ("delta bias", DeltaBias),
    ];

    /// <summary>Fails where one of them changed, but for that which is written.</summary>
    public void AssertUnchanged(GuardedMatrix? written = null)
    {
        foreach ((string name, GuardedMatrix? matrix) in All)
        {
            if (matrix != written)
            {
                matrix?.AssertUnchanged(name);
            }
        }
    }

    public void Dispose()
    {
        foreach ((_, GuardedMatrix? matrix) in All)
        {
            matrix?.Dispose();
        }
    }
}
