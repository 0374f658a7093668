using System.Runtime.InteropServices;
using MambaCuda.Kernels;
using MambaCuda.Testing;
using MambaCuda.Tests;

namespace MambaCuda.Training.Tests;

/// <summary>The golden runs of twelve steps that PyTorch made in float64, and what it cannot step.</summary>
public sealed class AdamWOptimizerTests
{
    public static TheoryData<string, string> GoldenModels
    {
        get
        {
            TheoryData<string, string> data = [];
            foreach (string container in Fixtures.ModelContainers().Where(name => name.EndsWith("/hf", StringComparison.Ordinal)))
            {
                data.Add("cpu", container);
                data.Add("cuda-float32", container);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(GoldenModels))]
    public void Twelve_steps_are_those_of_the_golden_file(string backendName, string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        GoldenFile golden = new(Path.Combine(Fixtures.PathOf(container), "..", "expected.safetensors"));
        using Backend backend = ModelBackends.Open(backendName);
        using Checkpoint checkpoint = Checkpoint.Open(Fixtures.PathOf(container));
        using TrainableModel model = new(checkpoint.Config, checkpoint.Tensors, backend);
        using AdamWOptimizer optimizer = new(model);
        using ForwardTape tape = model.CreateTape();
        int[] ids = golden.Integers("train.batches");
        long[] shape = golden.Shape("train.batches");
        (int steps, int batch, int length) = ((int)shape[0], (int)shape[1], (int)shape[2]);
        float[] losses = golden.Floats("train.losses"), norms = golden.Floats("train.grad_norms");
        Assert.Equal(steps, losses.Length);
        int count = batch * (length - 1);
        for (int step = 0; step < steps; step++)
        {
            int[] Shifted(int first) =>
            [
                .. Enumerable.Range(0, batch).SelectMany(row => ids.Skip((((step * batch) + row) * length) + first).Take(length - 1)),
            ];
            model.Forward(Shifted(0), SequenceLayout.Uniform(batch, length - 1), tape);
            model.Loss(tape, Shifted(1), 1f / count);
            model.Backward(tape);
            double loss = model.ReadLoss(tape) / count, norm = optimizer.Step(learningRate: 2e-3);
            Assert.True(Math.Abs(loss - losses[step]) <= 1e-4, $"The loss of step {step} is {loss}, not {losses[step]}.");
            Assert.True(Math.Abs(norm - norms[step]) <= 1e-3, $"The norm of step {step} is {norm}, not {norms[step]}.");
        }

        int compared = 0;
        foreach (ExpectedTensor tensor in model.Config.Tensors())
        {
            using NativeHostMemory memory = new(tensor.ElementCount * sizeof(float));
            model.Parameters.Download(tensor, memory);
            double deviation = Deviation.RelativeNorm(
                MemoryMarshal.Cast<byte, float>(memory.Span(0, (int)memory.ByteLength)), golden.Floats($"train.final.{tensor.Name}"));
            Assert.True(deviation <= 1e-4, $"{tensor} ends {deviation:g3} off.");
            compared++;
        }

        Assert.Equal(golden.Names.Count(name => name.StartsWith("train.final.", StringComparison.Ordinal)), compared);
    }

    [Fact]
    public void A_model_without_masters_is_refused()
    {
        using Backend backend = ModelBackends.Open("cuda-bfloat16");
        using RandomWeights weights = new(SmallModel.Config, DataType.Float32, seed: 1);
        using TrainableModel model = new(SmallModel.Config, weights.Tensors, backend, masterWeights: false);
        ArgumentException exception = Assert.Throws<ArgumentException>(() => new AdamWOptimizer(model));
        Assert.StartsWith("The model has no float32 weights to step: make it with master", exception.Message, StringComparison.Ordinal);
    }

    /// <summary>Two hundred steps on a card; a few on the host device, which takes a second for each.</summary>
    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void Two_runs_give_the_same_weights_to_the_last_bit(string backendName)
    {
        int steps = backendName != "cpu" && HostDevice.IsInUse ? 4 : 200;
        byte[][] ends = [.. Enumerable.Range(0, 2).Select(_ =>
        {
            using Backend backend = ModelBackends.Open(backendName);
            using RandomWeights weights = new(SmallModel.Config, DataType.Float32, seed: 1);
            using TrainableModel model = new(SmallModel.Config, weights.Tensors, backend);
            using AdamWOptimizer optimizer = new(model);
            using ForwardTape tape = model.CreateTape();
            Random random = new(7);
            for (int step = 0; step < steps; step++)
            {
                int[] ids = [.. Enumerable.Range(0, 2 * 33).Select(_ => random.Next(SmallModel.Config.VocabularySize))];
                model.Forward(ids, SequenceLayout.Packed([33, 20, 13]), tape);
                model.Loss(tape, ids, 1f / ids.Length);
                model.Backward(tape);
                optimizer.Step(learningRate: 1e-3);
            }

            return SmallModel.Bytes(model);
        })];
        Assert.Equal(ends[0], ends[1]);
    }

    [Fact]
    public void A_gradient_that_is_not_finite_changes_nothing()
    {
        using CpuBackend backend = new(threads: 1);
        using RandomWeights weights = new(SmallModel.Config, DataType.Float32, seed: 1);
        using TrainableModel model = new(SmallModel.Config, weights.Tensors, backend);
        using AdamWOptimizer optimizer = new(model);
        byte[] before = SmallModel.Bytes(model);
        MatrixView one = model.Gradients.Of(TensorNames.FinalNorm).ColumnRange(3, 1);
        backend.Upload<float>([float.NaN], one);
        Assert.True(double.IsNaN(optimizer.Step(0.1)));
        Assert.Equal(0, optimizer.StepsTaken);
        Assert.Equal(before, SmallModel.Bytes(model));

        // The gradient is gone with the step: the next one is an ordinary one.
        backend.Upload<float>([1f], one);
        Assert.Equal(1, optimizer.Step(0.1), 1e-6);
        Assert.Equal(1, optimizer.StepsTaken);
        Assert.NotEqual(before, SmallModel.Bytes(model));
    }

    [Fact]
    public void Settings_out_of_range_are_refused_by_name()
    {
        Assert.Equal("Beta1", Assert.Throws<ArgumentOutOfRangeException>(new AdamWSettings { Beta1 = 1 }.Validate).ParamName);
        Assert.Equal("Epsilon", Assert.Throws<ArgumentOutOfRangeException>(new AdamWSettings { Epsilon = double.NaN }.Validate).ParamName);
        Assert.Equal(
            "MaxGradientNorm", Assert.Throws<ArgumentOutOfRangeException>(new AdamWSettings { MaxGradientNorm = 0 }.Validate).ParamName);
        new AdamWSettings { MaxGradientNorm = double.PositiveInfinity }.Validate();
    }
}
