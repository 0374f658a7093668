using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

/// <summary>
/// The factors of AdamW that are others in every step, from float64; in device memory too they are three float32, one behind the other.
/// </summary>
/// <param name="Keep">What a parameter is multiplied by: 1 - rate * decay.</param>
/// <param name="StepSize">rate / (1 - beta1^step).</param>
/// <param name="RootCorrection">1 / sqrt(1 - beta2^step).</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct AdamWFactors(float Keep, float StepSize, float RootCorrection)
{
    /// <summary>How many they are.</summary>
    public const int Count = 3;

    /// <summary>The factors that operands say by learning rate, decay and step.</summary>
    public static AdamWFactors Of(in AdamWArgs args) => new(
        (float)(1 - ((double)args.LearningRate * args.WeightDecay)),
        (float)(args.LearningRate / (1 - Math.Pow(args.Beta1, args.Step))),
        (float)(1 / Math.Sqrt(1 - Math.Pow(args.Beta2, args.Step))));
}

/// <summary>
/// Operands of <see cref="Backend.AdamW"/>. Parameters that are decayed alike lie one after the other in one view, (1 or more, columns)
/// without gaps, whatever tensors they belong to: one call steps them all.
/// </summary>
public readonly struct AdamWArgs
{
    /// <summary>The parameters, Float32; stepped in place.</summary>
    public MatrixView Parameters { get; init; }

    /// <summary>Their gradients, Float32.</summary>
    public MatrixView Gradients { get; init; }

    /// <summary>The running mean of the gradient, Float32; zero before the first step.</summary>
    public MatrixView FirstMoment { get; init; }

    /// <summary>The running mean of its square, Float32; zero before the first step.</summary>
    public MatrixView SecondMoment { get; init; }

    /// <summary>The stepped parameters as the model computes with them, any weight type, rounded to nearest even; or none.</summary>
    public MatrixView Rounded { get; init; }

    /// <summary>
    /// The norm of all gradients, (1, 1), Float32, from <see cref="Backend.GradientNorm"/>; or none, and nothing is clipped.
    /// </summary>
    public MatrixView GradientNorm { get; init; }

    /// <summary>
    /// Where the norm (times <see cref="GradientScale"/>) is more, gradients are scaled down to it: by
    /// min(1, MaxGradientNorm / (norm * GradientScale + 1e-6)), as torch.nn.utils.clip_grad_norm_ does. Where the norm is not finite, the
    /// operation changes nothing at all. Positive, where there is a norm; infinity clips nothing and keeps the check.
    /// </summary>
    public float MaxGradientNorm { get; init; }

    /// <summary>What gradients are multiplied by first: 1, or 1 / (loss scale). Positive.</summary>
    public float GradientScale { get; init; }

    /// <summary>
    /// <see cref="AdamWFactors"/> as a matrix (1, 3), Float32, in place of learning rate, decay and step: for operations that are captured
    /// and run again with other factors. Or none.
    /// </summary>
    public MatrixView Factors { get; init; }

    /// <summary>The learning rate of this step.</summary>
    public float LearningRate { get; init; }

    /// <summary>Decay of the first moment.</summary>
    public float Beta1 { get; init; }

    /// <summary>Decay of the second moment.</summary>
    public float Beta2 { get; init; }

    /// <summary>Added to the root of the second moment.</summary>
    public float Epsilon { get; init; }

    /// <summary>Share of itself, times the learning rate, that each parameter loses.</summary>
    public float WeightDecay { get; init; }

    /// <summary>The number of this step, from 1: both moments are corrected for having started at zero.</summary>
    public long Step { get; init; }

    /// <summary>Parameters and moments are read and written; the root and the division are special.</summary>
    internal OperationWork Work => OperationWork.Of(
        Parameters, Parameters, FirstMoment, FirstMoment, SecondMoment, SecondMoment, Gradients, Rounded) with
    {
        Arithmetic = 12.0 * Parameters.Rows * Parameters.Columns,
        Special = 2.0 * Parameters.Rows * Parameters.Columns,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// One step of AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", algorithm 2), the clip of the gradients' norm
    /// included. In PyTorch's order: p *= 1 - rate * decay; m += (g - m) (1 - beta1); v = beta2 v + (1 - beta2) g^2;
    /// p -= rate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon).
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The step, the gradients' scale or their largest norm is not positive.</exception>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void AdamW(in AdamWArgs args)
    {
        const string Operation = nameof(AdamW);
        if (args.Factors.IsNone)
        {
            Check.Positive(Operation, "step", args.Step);
        }

        Check.Positive(Operation, "gradient scale", args.GradientScale);
        Check.Given(Operation, "parameters", args.Parameters);
        Check.Given(Operation, "gradients", args.Gradients);
        Check.Given(Operation, "first moment", args.FirstMoment);
        Check.Given(Operation, "second moment", args.SecondMoment);
        Check.Type(Operation, "parameters", args.Parameters, DataType.Float32);
        Check.Contiguous(Operation, "parameters", args.Parameters);
        foreach ((string name, MatrixView view) in new[]
        {
            ("gradients", args.Gradients), ("first moment", args.FirstMoment), ("second moment", args.SecondMoment),
        })
        {
            Check.Like(Operation, name, view, "parameters", args.Parameters);
            Check.Contiguous(Operation, name, view);
        }

        Check.Shape(Operation, "rounded parameters", args.Rounded, args.Parameters.Rows, args.Parameters.Columns);
        Check.WeightType(Operation, "rounded parameters", args.Rounded);
        Check.Contiguous(Operation, "rounded parameters", args.Rounded);
        Check.Shape(Operation, "gradient norm", args.GradientNorm, 1, 1);
        Check.Type(Operation, "gradient norm", args.GradientNorm, DataType.Float32);
        Check.Shape(Operation, "factors", args.Factors, 1, AdamWFactors.Count);
        Check.Type(Operation, "factors", args.Factors, DataType.Float32);
        if (!args.GradientNorm.IsNone)
        {
            Check.Positive(Operation, "largest gradient norm", args.MaxGradientNorm);
        }

        Trace?.BeginOperation(Operation, args.Work);
        AdamWCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void AdamWCore(in AdamWArgs args) => throw CannotTrain(nameof(AdamW));
}
