using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>The settings of AdamW that stay the same from step to step.</summary>
/// <param name="LearningRate">The learning rate.</param>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Epsilon">Added to the root of the second moment.</param>
/// <param name="WeightDecay">Share of itself, times the learning rate, that each parameter loses.</param>
/// <param name="GradientScale">What gradients are multiplied by first.</param>
/// <param name="MaxGradientNorm">The norm that gradients are scaled down to.</param>
public sealed record AdamWSettings(
    float LearningRate, float Beta1, float Beta2, float Epsilon, float WeightDecay, float GradientScale, float MaxGradientNorm);

/// <summary>AdamW as PyTorch's torch.optim.AdamW has it, after torch.nn.utils.clip_grad_norm_, number by number.</summary>
/// <param name="parameters">The parameters before the first step.</param>
/// <param name="settings">The settings.</param>
public sealed class AdamWOracle<T>(float[] parameters, AdamWSettings settings) where T : IFloatingPointIeee754<T>
{
    private readonly T[] _first = new T[parameters.Length];
    private readonly T[] _second = new T[parameters.Length];
    private int _step;

    /// <summary>The parameters.</summary>
    public T[] Parameters { get; } = Array.ConvertAll(parameters, T.CreateChecked);

    /// <summary>What the parameters and all changes to them amount to without their signs.</summary>
    public double[] Sizes { get; } = Array.ConvertAll(parameters, value => (double)MathF.Abs(value));

    /// <summary>Takes a step.</summary>
    /// <param name="gradients">The gradients, not scaled.</param>
    /// <param name="norm">Their norm; null where nothing is clipped.</param>
    public void Step(float[] gradients, float? norm)
    {
        _step++;
        double clip = norm is { } value ? Math.Min(1, settings.MaxGradientNorm / ((value * (double)settings.GradientScale) + 1e-6)) : 1;
        T scale = T.CreateChecked(settings.GradientScale * clip), rate = T.CreateChecked(settings.LearningRate);
        T beta1 = T.CreateChecked(settings.Beta1), beta2 = T.CreateChecked(settings.Beta2);
        T stepSize = T.CreateChecked(settings.LearningRate / (1 - Math.Pow(settings.Beta1, _step)));
        T rootCorrection = T.CreateChecked(Math.Sqrt(1 - Math.Pow(settings.Beta2, _step)));
        for (int i = 0; i < gradients.Length; i++)
        {
            T gradient = T.CreateChecked(gradients[i]) * scale;
            Parameters[i] *= T.One - (rate * T.CreateChecked(settings.WeightDecay));
            _first[i] = (beta1 * _first[i]) + ((T.One - beta1) * gradient);
            _second[i] = (beta2 * _second[i]) + ((T.One - beta2) * gradient * gradient);
            T change = stepSize * _first[i] / ((T.Sqrt(_second[i]) / rootCorrection) + T.CreateChecked(settings.Epsilon));
            Parameters[i] -= change;
            Sizes[i] += Math.Abs(double.CreateChecked(change));
        }
    }
}
