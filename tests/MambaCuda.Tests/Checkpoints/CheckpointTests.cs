using System.Text.Json.Nodes;
using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>A folder opens as a model: every container of the golden models holds the same, and what does not fit is named.</summary>
public sealed class CheckpointTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly TinyCheckpoint _tiny = new();

    public static TheoryData<string> Containers => [.. Fixtures.ModelContainers()];

    public void Dispose()
    {
        _tiny.Dispose();
        _folder.Dispose();
    }

    /// <summary>Compared with a reader that shares no code with the library.</summary>
    [Theory]
    [MemberData(nameof(Containers))]
    public void Every_container_holds_the_tensors_of_the_golden_one(string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        string folder = Fixtures.PathOf(container), golden = Path.Combine(folder, "..", "hf", "model.safetensors");
        using Checkpoint checkpoint = Checkpoint.Open(folder);
        Assert.Equal(checkpoint.Config.Tensors().Select(tensor => tensor.Name).Order(), checkpoint.Tensors.Keys.Order());
        Assert.SkipUnless(File.Exists(golden), "There is no hf container to compare with.");
        GoldenFile expected = new(golden);
        Assert.All(checkpoint.Tensors.Values, tensor =>
        {
            float[] values = expected.Floats(tensor.Name);
            Assert.Equal(expected.Shape(tensor.Name), tensor.Shape.ToArray());
            Assert.Equal(tensor.Type == DataType.BFloat16 ? values.Select(Rounded) : values, TinyCheckpoint.Values(tensor));
        });
    }

    [Fact]
    public void All_that_does_not_fit_is_named_at_once()
    {
        _tiny.Write(_folder.Path);
        Edit(config =>
        {
            config["num_hidden_layers"] = 1;
            config["state_size"] = 8;
            config["tie_word_embeddings"] = false;
        });
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Checkpoint.Open(_folder.Path));
        Assert.Contains("'lm_head.weight' [24, 16] is missing", refusal.Message);
        Assert.Contains("'backbone.layers.0.mixer.A_log' is [32, 4], expected [32, 8]", refusal.Message);
        Assert.Contains("'backbone.layers.1.mixer.D' Float32 [32] is not part of the model", refusal.Message);
    }

    [Fact]
    public void Types_that_weights_cannot_have_are_named()
    {
        _tiny.Write(_folder.Path);
        string path = _folder.File("model.safetensors");
        byte[] bytes = File.ReadAllBytes(path);
        int at = bytes.AsSpan().IndexOf("F32"u8);
        "I32"u8.CopyTo(bytes.AsSpan(at));
        File.WriteAllBytes(path, bytes);
        Assert.Contains("is Int32, but weights are", Assert.Throws<CheckpointException>(() => Checkpoint.Open(_folder.Path)).Message);
    }

    [Fact]
    public void A_tied_head_may_be_stored_again_but_not_differ()
    {
        using TinyCheckpoint untied = new(_tiny.Config with { TieEmbeddings = false });
        untied.Write(_folder.Path);
        Edit(config => config["tie_word_embeddings"] = true);
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Checkpoint.Open(_folder.Path));
        Assert.Contains("'lm_head.weight' Float32 [24, 16] differs", refusal.Message);

        ExpectedTensor head = untied.Config.Tensors().Single(tensor => tensor.Name == TensorNames.Head);
        float[] embedding = TinyCheckpoint.Values(untied[TensorNames.Embedding]);
        untied.Set(head, i => embedding[i]);
        untied.Write(_folder.Path);
        Edit(config => config["tie_word_embeddings"] = true);
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Assert.DoesNotContain(TensorNames.Head, checkpoint.Tensors.Keys);
    }

    [Fact]
    public void Folders_without_a_checkpoint_are_named()
    {
        Assert.Contains("no such folder", Assert.Throws<CheckpointException>(() => Checkpoint.Open(_folder.File("none"))).Message);
        Assert.Contains("no config.json", Assert.Throws<CheckpointException>(() => Checkpoint.Open(_folder.Path)).Message);
        _folder.Write("config.json", _tiny.Config.ToJson());
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Checkpoint.Open(_folder.Path));
        Assert.Contains("model.safetensors, model.safetensors.index.json, pytorch_model.bin", refusal.Message);
    }

    [Fact]
    public void A_disposed_checkpoint_does_not_hand_out_its_memory()
    {
        _tiny.Write(_folder.Path);
        Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        StoredTensor tensor = checkpoint[TensorNames.FinalNorm];
        checkpoint.Dispose();
        checkpoint.Dispose();
        Assert.Throws<ObjectDisposedException>(() => TinyCheckpoint.Bytes(tensor));
    }

    private void Edit(Action<JsonNode> edit)
    {
        JsonNode config = JsonNode.Parse(File.ReadAllText(_folder.File("config.json")))!;
        edit(config);
        _folder.Write("config.json", config.ToJsonString());
    }

    /// <summary>The nearest bfloat16, found by comparing the two neighbours in double.</summary>
    private static float Rounded(float value)
    {
        uint below = BitConverter.SingleToUInt32Bits(value) & 0xffff0000;
        float low = BitConverter.UInt32BitsToSingle(below), high = BitConverter.UInt32BitsToSingle(below + 0x10000);
        double toLow = Math.Abs((double)value - low), toHigh = Math.Abs((double)high - value);
        bool lowIsEven = (below & 0x10000) == 0;
        return toLow < toHigh || (toLow == toHigh && lowIsEven) ? low : high;
    }
}
