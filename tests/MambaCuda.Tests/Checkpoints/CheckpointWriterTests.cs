using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>What is saved reads back bit by bit; what fails leaves the folder as it was.</summary>
public sealed class CheckpointWriterTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly TinyCheckpoint _tiny = new();
    private readonly TinyCheckpoint _other = new(seed: 2);

    public static TheoryData<string> Containers => [.. Fixtures.ModelContainers()];

    public void Dispose()
    {
        _tiny.Dispose();
        _other.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(long.MaxValue, 1)]
    [InlineData(8000, 3)]
    [InlineData(1, 22)]
    public void What_is_saved_reads_back_bit_by_bit(long largestShard, int shards)
    {
        _tiny.Write(_folder.Path, new CheckpointSaveOptions { LargestShard = largestShard });
        Assert.Equal(shards, Directory.GetFiles(_folder.Path, "*.safetensors").Length);
        Assert.Equal(shards > 1, File.Exists(_folder.File("model.safetensors.index.json")));
        AssertHolds(_tiny);
        AssertNoTemporaryFiles();
    }

    [Theory]
    [InlineData(DataType.BFloat16)]
    [InlineData(DataType.Float16)]
    public void A_narrower_type_is_rounded_and_widened_back_exactly(DataType type)
    {
        _tiny.Write(_folder.Path, new CheckpointSaveOptions { WeightType = type });
        string wide = _folder.File("wide");
        Convert(_folder.Path, wide, new CheckpointSaveOptions { WeightType = DataType.Float32 });
        using Checkpoint narrow = Checkpoint.Open(_folder.Path), back = Checkpoint.Open(wide);
        Assert.All(narrow.Tensors.Values, tensor =>
        {
            Assert.Equal(type, tensor.Type);
            Assert.Equal(TinyCheckpoint.Values(tensor), TinyCheckpoint.Values(back[tensor.Name]));
            float[] exact = TinyCheckpoint.Values(_tiny[tensor.Name]);
            Assert.True(Deviation.RelativeNorm(TinyCheckpoint.Values(tensor), exact) <= (type == DataType.BFloat16 ? 4e-3 : 5e-4));
        });
    }

    [Theory]
    [MemberData(nameof(Containers))]
    public void Every_golden_container_converts_without_a_changed_bit(string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        Convert(Fixtures.PathOf(container), _folder.Path, new CheckpointSaveOptions { LargestShard = 100_000 });
        using Checkpoint original = Checkpoint.Open(Fixtures.PathOf(container)), converted = Checkpoint.Open(_folder.Path);
        Assert.Equal(original.Config, converted.Config);
        Assert.All(original.Tensors.Values, tensor =>
        {
            Assert.Equal(tensor.ToString(), converted[tensor.Name].ToString());
            Assert.Equal(TinyCheckpoint.Bytes(tensor), TinyCheckpoint.Bytes(converted[tensor.Name]));
        });
    }

    /// <summary>The golden bf16 container was rounded by PyTorch; both are read by a reader that shares no code with the library.</summary>
    [Theory]
    [MemberData(nameof(Containers))]
    public void Rounding_is_that_of_PyTorch(string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        string golden = Path.Combine(Fixtures.PathOf(container), "..", "hf-bf16", "model.safetensors");
        Assert.SkipUnless(File.Exists(golden), "There is no hf-bf16 container to compare with.");
        Convert(Fixtures.PathOf(container), _folder.Path, new CheckpointSaveOptions { WeightType = DataType.BFloat16 });
        GoldenFile expected = new(golden), written = new(_folder.File("model.safetensors"));
        Assert.Equal(expected.Names.Order(), written.Names.Order());
        Assert.All(expected.Names, name =>
        {
            Assert.Equal(expected.Shape(name), written.Shape(name));
            Assert.Equal(expected.Floats(name), written.Floats(name));
        });
    }

    [Fact]
    public void Data_begins_at_a_cache_line()
    {
        _tiny.Write(_folder.Path);
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Assert.Equal(0, checkpoint.Tensors.Values.Min(tensor => tensor.ByteOffset) % 64);
        using SafetensorsFile file = SafetensorsFile.Open(_folder.File("model.safetensors"));
        Assert.Equal("pt", file.Metadata["format"]);
    }

    [Theory]
    [InlineData(long.MaxValue, long.MaxValue)]
    [InlineData(long.MaxValue, 8000)]
    [InlineData(8000, long.MaxValue)]
    [InlineData(8000, 2000)]
    public void A_checkpoint_replaces_another_whole(long oldShard, long newShard)
    {
        _other.Write(_folder.Path, new CheckpointSaveOptions { LargestShard = oldShard });
        _folder.Write("notes.txt", "mine");
        _tiny.Write(_folder.Path, new CheckpointSaveOptions { LargestShard = newShard });
        AssertHolds(_tiny);
        AssertNoTemporaryFiles();
        Assert.Equal(newShard < long.MaxValue, File.Exists(_folder.File("model.safetensors.index.json")));
        Assert.Equal(newShard == long.MaxValue, File.Exists(_folder.File("model.safetensors")));
        int named = newShard == long.MaxValue ? 1 : ShardIndex.Read(_folder.File("model.safetensors.index.json")).Shards.Count;
        Assert.Equal(named, Directory.GetFiles(_folder.Path, "*.safetensors").Length);
        Assert.True(File.Exists(_folder.File("notes.txt")));
    }

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(8000)]
    public void A_failure_in_the_middle_leaves_the_old_checkpoint(long largestShard)
    {
        _other.Write(_folder.Path);
        int asked = 0;
        Assert.Throws<InvalidTimeZoneException>(() => Write(
            _folder.Path, _tiny.Config, expected => ++asked < 15 ? _tiny[expected] : throw new InvalidTimeZoneException(),
            new CheckpointSaveOptions { LargestShard = largestShard, WeightType = DataType.Float32 }));
        AssertHolds(_other);
        AssertNoTemporaryFiles();
    }

    [Fact]
    public void A_cancellation_leaves_the_old_checkpoint()
    {
        _other.Write(_folder.Path);
        using CancellationTokenSource source = new();
        CheckpointSaveOptions options = new() { WeightType = DataType.BFloat16, LargestShard = 4000 };
        Progress progress = new(report =>
        {
            if (report.BytesDone > 5000)
            {
                source.Cancel();
            }
        });
        Assert.Throws<OperationCanceledException>(
            () => Write(_folder.Path, _tiny.Config, expected => _tiny[expected], options, progress, source.Token));
        AssertHolds(_other);
        AssertNoTemporaryFiles();
    }

    /// <summary>A folder where a file should go makes the last step fail, after others have been taken.</summary>
    [Fact]
    public void A_failure_while_names_are_exchanged_takes_all_back()
    {
        _other.Write(_folder.Path);
        byte[] before = File.ReadAllBytes(_folder.File("model.safetensors"));
        File.Delete(_folder.File("config.json"));
        Directory.CreateDirectory(_folder.File("config.json"));
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => _tiny.Write(_folder.Path));
        Assert.Contains("cannot be written", refusal.Message);
        Assert.Equal(before, File.ReadAllBytes(_folder.File("model.safetensors")));
        AssertNoTemporaryFiles();
    }

    [Fact]
    public void A_folder_made_for_nothing_is_removed()
    {
        string folder = _folder.File("new");
        Assert.Throws<InvalidTimeZoneException>(() => Write(
            folder, _tiny.Config, _ => throw new InvalidTimeZoneException(), new CheckpointSaveOptions { WeightType = DataType.Float32 }));
        Assert.False(Directory.Exists(folder));
    }

    [Fact]
    public void A_number_that_the_type_cannot_hold_is_named()
    {
        ExpectedTensor norm = _tiny.Config.Tensors().Single(tensor => tensor.Name == TensorNames.FinalNorm);
        _tiny.Set(norm, i => i == 3 ? 70000 : 1);
        CheckpointException refusal = Assert.Throws<CheckpointException>(
            () => _tiny.Write(_folder.Path, new CheckpointSaveOptions { WeightType = DataType.Float16 }));
        Assert.Contains("element 3 of 'backbone.norm_f.weight' Float32 [16] is too large for Float16. Choose BFloat16", refusal.Message);
        AssertNoTemporaryFiles();
    }

    [Fact]
    public void A_tensor_of_another_shape_is_named() => Assert.Contains(
        "cannot be saved as 'backbone.embeddings.weight' [24, 16]",
        Assert.Throws<CheckpointException>(() => Write(_folder.Path, _tiny.Config, _ => _tiny[TensorNames.FinalNorm])).Message);

    [Fact]
    public void Progress_ends_at_the_whole()
    {
        List<CheckpointProgress> reports = [];
        Write(_folder.Path, _tiny.Config, expected => _tiny[expected], progress: new Progress(reports.Add));
        Assert.Equal(reports[^1].BytesTotal, reports[^1].BytesDone);
        Assert.Equal(_tiny.Config.Tensors().Sum(tensor => tensor.ElementCount * 4), reports[^1].BytesTotal);
        Assert.Equal(reports.Select(report => report.BytesDone).Order(), reports.Select(report => report.BytesDone));
    }

    [Fact]
    public void Tokenizer_files_come_along_and_a_checkpoint_can_be_converted_in_place()
    {
        _tiny.Write(_folder.Path, new CheckpointSaveOptions { LargestShard = 8000 });
        _folder.Write("tokenizer.json", "{}");
        string other = _folder.File("other");
        Convert(_folder.Path, other);
        Assert.Equal("{}", File.ReadAllText(Path.Combine(other, "tokenizer.json")));
        Convert(_folder.Path, _folder.Path);
        Assert.False(File.Exists(_folder.File("model.safetensors.index.json")));
        Assert.Equal("{}", File.ReadAllText(_folder.File("tokenizer.json")));
        AssertHolds(_tiny);
    }

    private static void Convert(string source, string destination, CheckpointSaveOptions? options = null) =>
        CheckpointConverter.Convert(source, destination, options, cancellationToken: TestContext.Current.CancellationToken);

    private static void Write(
        string directory,
        MambaConfig config,
        Func<ExpectedTensor, StoredTensor> tensor,
        CheckpointSaveOptions? options = null,
        IProgress<CheckpointProgress>? progress = null,
        CancellationToken? cancellationToken = null) =>
        CheckpointWriter.Write(directory, config, tensor, options, progress, cancellationToken ?? TestContext.Current.CancellationToken);

    private void AssertHolds(TinyCheckpoint expected)
    {
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Assert.Equal(expected.Config, checkpoint.Config);
        Assert.All(
            checkpoint.Tensors.Values, tensor => Assert.Equal(TinyCheckpoint.Bytes(expected[tensor.Name]), TinyCheckpoint.Bytes(tensor)));
    }

    private void AssertNoTemporaryFiles() => Assert.Empty(Directory.GetFileSystemEntries(_folder.Path, ".*"));

    /// <summary>Reports at once, on the thread that writes.</summary>
    private sealed class Progress(Action<CheckpointProgress> report) : IProgress<CheckpointProgress>
    {
        public void Report(CheckpointProgress value) => report(value);
    }
}
