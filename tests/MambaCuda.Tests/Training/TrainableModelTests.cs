using System.Runtime.InteropServices;
using MambaCuda.Kernels;
using MambaCuda.Testing;
using MambaCuda.Validation;

namespace MambaCuda.Tests;

/// <summary>The gradients of whole models, on every backend that trains.</summary>
public sealed class TrainableModelTests
{
    /// <summary>Which backend, what it stores, and which golden model.</summary>
    public static TheoryData<string, Recomputation, string> GoldenModels
    {
        get
        {
            TheoryData<string, Recomputation, string> data = [];
            foreach (string backend in ModelBackends.Names.Append("cuda-float16"))
            {
                foreach (string container in Fixtures.ModelContainers().Where(name => name.EndsWith("/hf", StringComparison.Ordinal)))
                {
                    data.Add(backend, Recomputation.Scan, container);
                    data.Add(backend, Recomputation.Mixer, container);
                    data.Add(backend, Recomputation.Block, container);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(GoldenModels))]
    public void Gradients_are_those_of_the_golden_file(string backendName, Recomputation recomputation, string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        GoldenFile expected = new(Path.Combine(Fixtures.PathOf(container), "..", "expected.safetensors"));
        using Backend backend = OpenTraining(backendName);
        using Checkpoint checkpoint = Checkpoint.Open(Fixtures.PathOf(container));
        using TrainableModel model = new(checkpoint.Config, checkpoint.Tensors, backend, recomputation);
        (int[] inputs, int[] targets, SequenceLayout sequences) = NextTokens(expected, "input_ids.0");
        using ForwardTape tape = model.CreateTape();
        double loss = Step(model, tape, inputs, targets, sequences);

        // The golden values are of float32; activations of 16 bits are held to what logits are held to where weights are such.
        (double lossBound, double bound) = backend.ActivationType == DataType.Float32 ? (1e-5, 1e-4) : (1e-2, 3e-2);
        double error = Math.Abs(loss - expected.Floats("loss.0")[0]);
        Assert.True(error <= lossBound, $"The loss is {loss}, {error:g3} off.");
        int compared = 0;
        foreach (ExpectedTensor tensor in model.Config.Tensors().Where(tensor => expected.Has($"grad.{tensor.Name}")))
        {
            double deviation = Deviation.RelativeNorm(Gradient(model, tensor), expected.Floats($"grad.{tensor.Name}"));
            Assert.True(deviation <= bound, $"The gradient of {tensor} deviates by {deviation:g3}.");
            compared++;
        }

        Assert.Equal(expected.Names.Count(name => name.StartsWith("grad.", StringComparison.Ordinal)), compared);
    }

    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void What_is_recomputed_does_not_change_a_bit(string backendName)
    {
        using Backend backend = OpenTraining(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 5);
        float[][] gradients = [.. Enum.GetValues<Recomputation>().Select(recomputation =>
        {
            using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend, recomputation);
            using ForwardTape tape = model.CreateTape();
            Step(model, tape, TinyModel.RandomIds(70, 1), TinyModel.RandomIds(70, 2), SequenceLayout.Packed([33, 1, 36]));
            return AllGradients(model);
        })];
        Assert.All(gradients, gradient => Assert.Equal(gradients[0], gradient));
        Assert.Contains(gradients[0], value => value != 0);
    }

    /// <summary>A sequence in one piece, and in segments through whose states the gradient flows back.</summary>
    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void Gradients_flow_through_time(string backendName)
    {
        const int Length = 100;
        using Backend backend = OpenTraining(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 6);
        using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend);
        int[] ids = TinyModel.RandomIds(2 * Length, 3), targets = TinyModel.RandomIds(2 * Length, 4);
        using ForwardTape whole = model.CreateTape();
        double expectedLoss = Step(model, whole, ids, targets, SequenceLayout.Uniform(2, Length));
        float[] expected = AllGradients(model);

        model.Gradients.Clear();
        int[] cuts = [0, 1, 40, 43, Length];
        ForwardTape[] tapes = [.. cuts[1..].Select(_ => model.CreateTape())];
        using LayerStates states = model.CreateStates(2), gradStates = model.CreateStates(2);
        double loss = 0;
        for (int segment = 0; segment < tapes.Length; segment++)
        {
            int start = cuts[segment], count = cuts[segment + 1] - start;
            int[] Cut(int[] all) => [.. all[start..(start + count)], .. all[(Length + start)..(Length + start + count)]];
            model.Forward(Cut(ids), SequenceLayout.Uniform(2, count), tapes[segment], states);
            model.Loss(tapes[segment], Cut(targets), 1f / (2 * Length));
            loss += model.ReadLoss(tapes[segment]);
        }

        foreach (ForwardTape tape in tapes.Reverse())
        {
            model.Backward(tape, gradStates);
            tape.Dispose();
        }

        Assert.Equal(expectedLoss, loss / (2 * Length), 1e-5);
        double deviation = Deviation.RelativeNorm(AllGradients(model), expected);
        Assert.True(deviation <= 1e-5, $"The gradients deviate by {deviation:g3}.");
    }

    /// <summary>Without the gradient through states, segments are back-propagation truncated at their starts: something else.</summary>
    [Fact]
    public void A_cut_gradient_is_another_one()
    {
        using CpuBackend backend = new(threads: 2);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 6);
        using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend);
        int[] ids = TinyModel.RandomIds(40, 3), targets = TinyModel.RandomIds(40, 4);
        using ForwardTape tape = model.CreateTape();
        Step(model, tape, ids, targets, SequenceLayout.Uniform(1, 40));
        float[] whole = AllGradients(model);

        model.Gradients.Clear();
        using LayerStates states = model.CreateStates(1);
        foreach (int start in new[] { 0, 20 })
        {
            model.Forward(ids.AsSpan(start, 20), SequenceLayout.Uniform(1, 20), tape, states);
            model.Loss(tape, targets.AsSpan(start, 20), 1f / 40);
            model.Backward(tape);
        }

        Assert.True(Deviation.RelativeNorm(AllGradients(model), whole) > 1e-4);
    }

    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void A_packed_batch_sums_its_sequences(string backendName)
    {
        using Backend backend = OpenTraining(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 7);
        using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend);
        int[] lengths = [1, 45, 2, 20];
        int[] ids = TinyModel.RandomIds(lengths.Sum(), 5), targets = TinyModel.RandomIds(lengths.Sum(), 6);
        targets[3] = targets[50] = CrossEntropyArgs.IgnoredTarget;
        using ForwardTape tape = model.CreateTape();
        model.Forward(ids, SequenceLayout.Packed(lengths), tape);
        model.Loss(tape, targets, 0.01f);
        double packedLoss = model.ReadLoss(tape);
        model.Backward(tape);
        float[] packed = AllGradients(model);

        model.Gradients.Clear();
        double loss = 0;
        for (int sequence = 0, start = 0; sequence < lengths.Length; start += lengths[sequence++])
        {
            model.Forward(ids.AsSpan(start, lengths[sequence]), SequenceLayout.Packed([lengths[sequence]]), tape);
            model.Loss(tape, targets.AsSpan(start, lengths[sequence]), 0.01f);
            loss += model.ReadLoss(tape);
            model.Backward(tape);
        }

        Assert.Equal(packedLoss, loss, 1e-3);
        double deviation = Deviation.RelativeNorm(packed, AllGradients(model));
        Assert.True(deviation <= 1e-5, $"The gradients deviate by {deviation:g3}.");
    }

    /// <summary>A loss of the caller's own: the gradient of logits in, and the same gradients out as the built-in loss gives.</summary>
    [Fact]
    public void A_loss_of_ones_own_is_brought_in_by_logits_and_their_gradient()
    {
        using CpuBackend backend = new(threads: 2);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 8);
        using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend);
        int[] ids = TinyModel.RandomIds(30, 7), targets = TinyModel.RandomIds(30, 8);
        using ForwardTape tape = model.CreateTape();
        Step(model, tape, ids, targets, SequenceLayout.Uniform(1, 30));
        float[] expected = AllGradients(model);

        model.Gradients.Clear();
        int vocabulary = model.Config.VocabularySize;
        using DeviceBuffer buffer = backend.Allocate(30L * vocabulary * sizeof(float));
        MatrixView logits = buffer.Matrix(DataType.Float32, 30, vocabulary);
        model.Forward(ids, SequenceLayout.Uniform(1, 30), tape);
        model.Logits(tape, 0, logits);
        float[] values = new float[30 * vocabulary];
        backend.Download<float>(logits, values);
        for (int row = 0; row < 30; row++)
        {
            Span<float> line = values.AsSpan(row * vocabulary, vocabulary);
            double sum = 0;
            foreach (float value in line)
            {
                sum += Math.Exp(value);
            }

            for (int id = 0; id < vocabulary; id++)
            {
                line[id] = (float)(((Math.Exp(line[id]) / sum) - (id == targets[row] ? 1 : 0)) / 30);
            }
        }

        backend.Upload<float>(values, logits);
        model.HeadBackward(tape, 0, logits);
        model.Backward(tape);
        double deviation = Deviation.RelativeNorm(AllGradients(model), expected);
        Assert.True(deviation <= 1e-5, $"The gradients deviate by {deviation:g3}.");
    }

    [Fact]
    public void Parameters_come_back_as_they_were_given()
    {
        using CpuBackend backend = new(threads: 1);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 9);
        using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend);
        foreach (ExpectedTensor tensor in model.Config.Tensors())
        {
            using NativeHostMemory memory = new(tensor.ElementCount * sizeof(float));
            StoredTensor given = weights.Tensors[tensor.Name], back = model.Parameters.Download(tensor, memory);
            Assert.True(given.Memory.Span(given.ByteOffset, (int)given.ByteLength).SequenceEqual(back.Memory.Span(0, (int)back.ByteLength)));
        }
    }

    [Theory]
    [InlineData("cuda-bfloat16"), InlineData("cuda-float16"), InlineData("cuda-float32"), InlineData("cpu")]
    public void Without_masters_gradients_are_the_same_to_the_last_bit(string backendName)
    {
        using Backend backend = OpenTraining(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 10);
        bool isFloat32 = backend.ActivationType == DataType.Float32;
        float[] Gradients(bool masterWeights)
        {
            using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend, masterWeights: masterWeights);
            using ForwardTape tape = model.CreateTape();
            Step(model, tape, TinyModel.RandomIds(70, 1), TinyModel.RandomIds(70, 2), SequenceLayout.Packed([33, 1, 36]));
            return AllGradients(model);
        }

        float[] expected = Gradients(masterWeights: true);
        Assert.Equal(expected, Gradients(masterWeights: false));
        Assert.Contains(expected, value => value != 0);

        using TrainableModel with = new(TinyModel.Config, weights.Tensors, backend);
        using TrainableModel without = new(TinyModel.Config, weights.Tensors, backend, masterWeights: false);
        Assert.True(with.Parameters.HasMasters);
        Assert.Equal(isFloat32, without.Parameters.HasMasters);

        // Four bytes less for each element of a projection, two for each other, which needs no rounded copy; elements as they are laid out.
        long saved = 0;
        foreach (ExpectedTensor tensor in with.Config.Tensors())
        {
            bool isProjection = tensor.Shape.Length == 2 && !tensor.Name.EndsWith("A_log", StringComparison.Ordinal);
            saved += (tensor.ElementCount + 63) / 64 * 64 * (isFloat32 ? 0 : isProjection ? 4 : 2);
            Assert.Equal(Value(with, tensor, rounded: isProjection), Value(without, tensor, rounded: false));
            Exception? refusal = Record.Exception(() => without.Parameters.Of(tensor.Name));
            Assert.Equal(isProjection && !isFloat32, refusal is InvalidOperationException);
        }

        Assert.Equal(saved, with.Parameters.ByteLength - without.Parameters.ByteLength);
        if (!isFloat32)
        {
            string told = Assert.Throws<InvalidOperationException>(() => without.Parameters.Values).Message;
            Assert.Contains("Make it with master weights", told, StringComparison.Ordinal);
            Assert.Throws<InvalidOperationException>(() => without.Parameters.Part(0, 64));
            Assert.Throws<InvalidOperationException>(() => without.Parameters.RoundedPart(0, 64));
        }

        float[] Value(TrainableModel model, ExpectedTensor tensor, bool rounded)
        {
            using NativeHostMemory memory = new(tensor.ElementCount * sizeof(float));
            model.Parameters.Download(tensor, memory);
            float[] values = MemoryMarshal.Cast<byte, float>(memory.Span(0, (int)memory.ByteLength)).ToArray();
            return rounded ? StoredValues.Round(values, backend.ActivationType) : values;
        }
    }

    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void A_tape_can_be_run_back_again(string backendName)
    {
        using Backend backend = OpenTraining(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 11);
        foreach (Recomputation recomputation in Enum.GetValues<Recomputation>())
        {
            using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend, recomputation);
            using ForwardTape tape = model.CreateTape(), other = model.CreateTape();
            int[] targets = TinyModel.RandomIds(70, 2);
            Step(model, tape, TinyModel.RandomIds(70, 1), targets, SequenceLayout.Packed([33, 1, 36]));
            float[] expected = AllGradients(model);

            // Another pass in between has had the workspace.
            Step(model, other, TinyModel.RandomIds(90, 3), TinyModel.RandomIds(90, 4), SequenceLayout.Uniform(1, 90));
            model.Gradients.Clear();
            model.Loss(tape, targets, 1f / targets.Length);
            model.Backward(tape);
            Assert.Equal(expected, AllGradients(model));
        }
    }

    /// <summary>Gradients that are cleared are zero to whoever asks, and to a pass that reaches some of them only.</summary>
    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void Gradients_add_up_until_they_are_cleared(string backendName)
    {
        using Backend backend = OpenTraining(backendName);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 12);
        using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend);
        using ForwardTape tape = model.CreateTape();
        int[] ids = TinyModel.RandomIds(30, 1), targets = TinyModel.RandomIds(30, 2);
        Assert.All(AllGradients(model), value => Assert.Equal(0, value));
        Step(model, tape, ids, targets, SequenceLayout.Uniform(1, 30));
        float[] once = AllGradients(model);
        model.Gradients.Clear();
        Assert.All(AllGradients(model), value => Assert.Equal(0, value));

        Step(model, tape, ids, targets, SequenceLayout.Uniform(1, 30));
        Step(model, tape, ids, targets, SequenceLayout.Uniform(1, 30));
        AssertNear([.. once.Select(value => 2 * value)], AllGradients(model));

        // The head and the blocks apart, with what the two passes have left in memory.
        model.Gradients.Clear();
        model.Loss(tape, targets, 1f / targets.Length);
        float[] ofHead = AllGradients(model);
        model.Gradients.Clear();
        model.Backward(tape);
        AssertNear(once, [.. AllGradients(model).Zip(ofHead, (block, head) => block + head)]);

        static void AssertNear(float[] expected, float[] actual)
        {
            double deviation = Deviation.RelativeNorm(actual, expected);
            Assert.True(deviation <= 1e-6, $"The gradients deviate by {deviation:g3}.");
        }
    }

    [Fact]
    public void Wrong_input_is_told_before_anything_runs()
    {
        using CpuBackend backend = new(threads: 1);
        using RandomWeights weights = new(TinyModel.Config, DataType.Float32, seed: 9);
        using TrainableModel model = new(TinyModel.Config, weights.Tensors, backend);
        using ForwardTape tape = model.CreateTape();
        SequenceLayout two = SequenceLayout.Uniform(1, 2);
        Assert.Contains("empty", Assert.Throws<InvalidOperationException>(() => model.Backward(tape)).Message, StringComparison.Ordinal);
        Assert.Contains("2 tokens", Message(() => model.Forward([1], two, tape)), StringComparison.Ordinal);
        Assert.Contains("Token 1 is 101", Message(() => model.Forward([1, 101], two, tape)), StringComparison.Ordinal);
        model.Forward([1, 2], two, tape);
        Assert.Contains("Token 0 is -2", Message(() => model.Loss(tape, [-2, 1], 1)), StringComparison.Ordinal);
        using LayerStates states = model.CreateStates(1);
        Assert.Contains(
            "2 slots", Message(() => model.Forward([1, 2], SequenceLayout.Uniform(2, 1), tape, states)), StringComparison.Ordinal);

        static string Message(Action action) => Assert.Throws<ArgumentException>(action).Message;
    }

    private static Backend OpenTraining(string name)
    {
        Backend backend = ModelBackends.Open(name);
        if (!backend.CanTrain)
        {
            backend.Dispose();
            Assert.Skip($"The {name} backend does not train.");
        }

        return backend;
    }

    /// <summary>One pass forward and back; the mean loss.</summary>
    private static double Step(TrainableModel model, ForwardTape tape, int[] inputs, int[] targets, SequenceLayout sequences)
    {
        model.Forward(inputs, sequences, tape);
        model.Loss(tape, targets, 1f / targets.Length);
        model.Backward(tape);
        return model.ReadLoss(tape) / targets.Length;
    }

    /// <summary>A golden batch (batch, length) as inputs and the tokens that follow them.</summary>
    private static (int[] Inputs, int[] Targets, SequenceLayout Sequences) NextTokens(GoldenFile file, string name)
    {
        int[] ids = file.Integers(name);
        int batch = (int)file.Shape(name)[0], length = (int)file.Shape(name)[1];
        IEnumerable<int> Rows(int first) => Enumerable.Range(0, batch).SelectMany(row => ids.Skip((row * length) + first).Take(length - 1));
        return ([.. Rows(0)], [.. Rows(1)], SequenceLayout.Uniform(batch, length - 1));
    }

    private static float[] Gradient(TrainableModel model, ExpectedTensor tensor)
    {
        using NativeHostMemory memory = new(tensor.ElementCount * sizeof(float));
        model.Gradients.Download(tensor, memory);
        return MemoryMarshal.Cast<byte, float>(memory.Span(0, (int)memory.ByteLength)).ToArray();
    }

    private static float[] AllGradients(TrainableModel model) =>
        [.. model.Config.Tensors().SelectMany(tensor => Gradient(model, tensor))];
}
