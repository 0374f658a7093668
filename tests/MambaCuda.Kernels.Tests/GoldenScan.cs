using System.Text.Json;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>A scan case of the golden data, whose arrays are channel-first, as operands and results that are token-first.</summary>
internal sealed class GoldenScan
{
    private readonly int _channels;
    private readonly int _stateSize;
    private readonly bool _packed;

    /// <summary>Reads a file.</summary>
    public GoldenScan(string path)
    {
        GoldenFile file = new(path);
        long[] shape = file.Shape("u");
        int batch = (int)shape[0], length = (int)shape[2];
        _channels = (int)shape[1];
        _stateSize = (int)file.Shape("A")[1];
        _packed = file.Has("cu_seqlens");
        if (_packed && (batch != 1 || file.Has("h0")))
        {
            throw new NotSupportedException($"{path} is packed, and so should be a batch of one without an initial state.");
        }

        int[] lengths = _packed
            ? [.. file.Integers("cu_seqlens").Zip(file.Integers("cu_seqlens").Skip(1), (start, end) => end - start)]
            : [.. Enumerable.Repeat(length, batch)];
        float[] PerToken(string name) => Transpose(file.Floats(name), batch, file.Floats(name).Length / batch / length, length);
        float[] PerChannel(string name) => Transpose(file.Floats(name), 1, _channels, file.Floats(name).Length / _channels);
        bool constantB = file.Shape("B").Length == 2, constantC = file.Shape("C").Length == 2;
        string? selective = !constantB ? "B" : !constantC ? "C" : null;
        Inputs = new SelectiveScanInputs
        {
            Lengths = lengths,
            Slots = [.. Enumerable.Range(0, lengths.Length)],
            Channels = _channels,
            StateSize = _stateSize,
            Groups = selective is not null && file.Shape(selective).Length == 4 ? (int)file.Shape(selective)[1] : 1,
            U = PerToken("u"),
            Delta = PerToken("delta"),
            A = PerChannel("A"),
            B = constantB ? PerChannel("B") : PerToken("B"),
            C = constantC ? PerChannel("C") : PerToken("C"),
            D = file.Has("D") ? file.Floats("D") : null,
            Z = file.Has("z") ? PerToken("z") : null,
            DeltaBias = file.Has("delta_bias") ? file.Floats("delta_bias") : null,
            InitialState = file.Has("h0") ? Transpose(file.Floats("h0"), batch, _channels, _stateSize) : null,
            DeltaSoftplus = UsesSoftplus(path),
            ConstantB = constantB,
            ConstantC = constantC,
        };
        Y = PerToken("y");
        LastState = Transpose(file.Floats("last_state"), batch, _channels, _stateSize);

        // Of a packed batch, only the last sequence's state went into the loss.
        float[] gradLastState = Transpose(file.Floats("grad_last_state"), batch, _channels, _stateSize);
        float[] gradFinalState = new float[lengths.Length * _channels * _stateSize];
        gradLastState.CopyTo(gradFinalState.AsSpan(gradFinalState.Length - gradLastState.Length));
        Upstream = new SelectiveScanUpstream(PerToken("grad_y"), gradFinalState);
        Gradients = new SelectiveScanBackwardResult<float>
        {
            GradU = PerToken("grad_u"),
            GradDelta = PerToken("grad_delta"),
            GradA = PerChannel("grad_A"),
            GradB = constantB ? PerChannel("grad_B") : PerToken("grad_B"),
            GradC = constantC ? PerChannel("grad_C") : PerToken("grad_C"),
            GradD = file.Has("grad_D") ? file.Floats("grad_D") : null,
            GradZ = file.Has("grad_z") ? PerToken("grad_z") : null,
            GradDeltaBias = file.Has("grad_delta_bias") ? file.Floats("grad_delta_bias") : null,
            GradInitialState = file.Has("grad_h0") ? Transpose(file.Floats("grad_h0"), batch, _channels, _stateSize) : null,
        };
        GradientCount = file.Names.Count(name => name.StartsWith("grad_", StringComparison.Ordinal)) - 2;
    }

    /// <summary>The operands.</summary>
    public SelectiveScanInputs Inputs { get; }

    /// <summary>y, (tokens, channels).</summary>
    public float[] Y { get; }

    /// <summary>The state after each sequence, (sequences * state size, channels); of a packed batch the last sequence's alone.</summary>
    public float[] LastState { get; }

    /// <summary>The gradients of y and of the last state.</summary>
    public SelectiveScanUpstream Upstream { get; }

    /// <summary>The gradients of the operands; null where the file has none.</summary>
    public SelectiveScanBackwardResult<float> Gradients { get; }

    /// <summary>How many gradients of operands the file has.</summary>
    public int GradientCount { get; }

    /// <summary>What of a final state is to be compared with <see cref="LastState"/>.</summary>
    public float[] OfLastState(float[] finalState) => _packed ? finalState[^(_stateSize * _channels)..] : finalState;

    private static bool UsesSoftplus(string path)
    {
        using JsonDocument cases =
            JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Path.GetDirectoryName(path)!, "cases.json")));
        return cases.RootElement.EnumerateArray()
            .Single(entry => entry.GetProperty("file").GetString() == Path.GetFileName(path))
            .GetProperty("delta_softplus").GetBoolean();
    }

    /// <summary>(batch, rows, columns) to (batch, columns, rows).</summary>
    private static float[] Transpose(float[] values, int batch, int rows, int columns)
    {
        float[] result = new float[values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            int matrix = i / (rows * columns), row = i / columns % rows, column = i % columns;
            result[(matrix * rows * columns) + (column * rows) + row] = values[i];
        }

        return result;
    }
}
