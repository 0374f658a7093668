namespace MambaCuda.Kernels.Tests;

/// <summary>What goes wrong in every operation of a <see cref="SpoiledBackend"/>.</summary>
public enum Spoiling
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The first element has the wrong sign.</summary>
    WrongSign,

    /// <summary>The first element is not a number.</summary>
    NotANumber,

    /// <summary>An element is written beside the result.</summary>
    WriteBeside,

    /// <summary>It throws.</summary>
    Failure,
}

/// <summary>The CPU backend with a fault: what finds faults is shown by it to find them.</summary>
internal sealed class SpoiledBackend(Spoiling spoiling, Action? onOperation = null) : Backend
{
    private readonly CpuBackend _inner = new(threads: 1);

    public override string Name => "cpu";

    public override string Description => $"spoiled by {spoiling}";

    public override DataType ActivationType => _inner.ActivationType;

    public override int PreferredChunkTokens => _inner.PreferredChunkTokens;

    public override bool CanTrain => _inner.CanTrain;

    public override int ScanCheckpointSteps => _inner.ScanCheckpointSteps;

    public override DeviceBuffer Allocate(long byteLength) => _inner.Allocate(byteLength);

    public override HostCopy CreateHostCopy(int byteLength) => _inner.CreateHostCopy(byteLength);

    public override DeviceBuffer Import(HostMemory memory, long byteOffset, long byteLength) =>
        _inner.Import(memory, byteOffset, byteLength);

    public override void Synchronize() => _inner.Synchronize();

    public override void Clear(MatrixView destination) => _inner.Clear(destination);

    protected override void UploadCore(ReadOnlySpan<byte> source, MatrixView destination) => _inner.Upload(source, destination);

    protected override void DownloadCore(MatrixView source, Span<byte> destination) => _inner.Download(source, destination);

    protected override void CopyCore(MatrixView source, MatrixView destination) => _inner.Copy(source, destination);

    protected override void Dispose(bool disposing) => _inner.Dispose();

    protected override void AddRmsNormLinearCore(in AddRmsNormLinearArgs args)
    {
        _inner.AddRmsNormLinear(args);
        Spoil(args.Y);
    }

    protected override void MixerStepCore(in MixerStepArgs args)
    {
        _inner.MixerStep(args);
        Spoil(args.Y);
    }

    protected override void EmbeddingForwardCore(in EmbeddingForwardArgs args)
    {
        _inner.EmbeddingForward(args);
        Spoil(args.Output);
    }

    protected override void AddRmsNormForwardCore(in AddRmsNormForwardArgs args)
    {
        _inner.AddRmsNormForward(args);
        Spoil(args.Y);
    }

    protected override void LinearForwardCore(in LinearForwardArgs args)
    {
        _inner.LinearForward(args);
        Spoil(args.Y);
    }

    protected override void CausalConv1dForwardCore(in CausalConv1dForwardArgs args)
    {
        _inner.CausalConv1dForward(args);
        Spoil(args.Y);
    }

    protected override void CausalConv1dUpdateCore(in CausalConv1dForwardArgs args)
    {
        _inner.CausalConv1dUpdate(args);
        Spoil(args.Y);
    }

    protected override void SelectiveScanForwardCore(in SelectiveScanForwardArgs args)
    {
        _inner.SelectiveScanForward(args);
        Spoil(args.Y);
    }

    protected override void SelectiveStateUpdateCore(in SelectiveScanForwardArgs args)
    {
        _inner.SelectiveStateUpdate(args);
        Spoil(args.Y);
    }

    protected override void AddRmsNormBackwardCore(in AddRmsNormBackwardArgs args)
    {
        _inner.AddRmsNormBackward(args);
        Spoil(args.GradResidual);
    }

    protected override void CausalConv1dBackwardCore(in CausalConv1dBackwardArgs args)
    {
        _inner.CausalConv1dBackward(args);
        Spoil(args.GradX);
    }

    protected override void StateMatrixForwardCore(in StateMatrixForwardArgs args)
    {
        _inner.StateMatrixForward(args);
        Spoil(args.A);
    }

    protected override void StateMatrixBackwardCore(in StateMatrixBackwardArgs args)
    {
        _inner.StateMatrixBackward(args);
        Spoil(args.GradLogA);
    }

    protected override void SelectiveScanBackwardCore(in SelectiveScanBackwardArgs args)
    {
        _inner.SelectiveScanBackward(args);
        Spoil(args.GradU);
    }

    protected override void GatherRowsCore(in GatherRowsArgs args)
    {
        _inner.GatherRows(args);
        Spoil(args.Destination);
    }

    protected override void LogProbabilitiesCore(in LogProbabilitiesArgs args)
    {
        _inner.LogProbabilities(args);
        Spoil(args.Output);
    }

    protected override void SampleTokensCore(in SampleTokensArgs args)
    {
        _inner.SampleTokens(args);
        Spoil(args.LogProbabilities);
    }

    protected override void GradientNormCore(in GradientNormArgs args)
    {
        _inner.GradientNorm(args);
        Spoil(args.Norm);
    }

    protected override void AdamWCore(in AdamWArgs args)
    {
        _inner.AdamW(args);
        Spoil(args.Parameters);
    }

    protected override void EmbeddingBackwardCore(in EmbeddingBackwardArgs args)
    {
        _inner.EmbeddingBackward(args);
        Spoil(args.GradWeight);
    }

    protected override void CrossEntropyCore(in CrossEntropyArgs args)
    {
        _inner.CrossEntropy(args);
        Spoil(args.GradLogits);
    }

    protected override void LinearBackwardCore(in LinearBackwardArgs args)
    {
        _inner.LinearBackward(args);
        Spoil(args.GradX);
    }

    protected override void AttentionForwardCore(in AttentionForwardArgs args)
    {
        _inner.AttentionForward(args);
        Spoil(args.Y);
    }

    protected override void AttentionBackwardCore(in AttentionBackwardArgs args)
    {
        _inner.AttentionBackward(args);
        Spoil(args.GradK);
    }

    protected override void AttentionDecodeCore(in AttentionDecodeArgs args)
    {
        _inner.AttentionDecode(args);
        Spoil(args.Y);
    }

    private void Spoil(MatrixView result)
    {
        onOperation?.Invoke();
        MatrixView first = result.RowRange(0, 1).ColumnRange(0, 1);
        byte[] bytes = new byte[result.Type.Size()];
        switch (spoiling)
        {
            case Spoiling.WrongSign:
                _inner.Download(first, bytes.AsSpan());
                bytes[^1] ^= 0x80;
                _inner.Upload<byte>(bytes, first);
                break;
            case Spoiling.NotANumber:
                bytes.AsSpan().Fill(0xFF);
                _inner.Upload<byte>(bytes, first);
                break;
            case Spoiling.WriteBeside:
                long behind = result.ByteOffset + ((long)result.Columns * result.Type.Size());
                _inner.Upload<byte>(bytes, result.Buffer!.Matrix(result.Type, 1, 1, behind));
                break;
            case Spoiling.Failure:
                throw new InvalidOperationException("The operation is spoiled.");
            default:
                break;
        }
    }
}
