using System.IO.Compression;
using System.Runtime.InteropServices;
using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>pytorch_model.bin: what torch.save writes is read where it lies; everything else is refused by name.</summary>
public sealed class PyTorchFileTests : IDisposable
{
    private static readonly byte[] Numbers = [.. Enumerable.Range(0, 12).SelectMany(i => BitConverter.GetBytes((float)i))];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false, 0x808)]
    [InlineData(true, 0x808)]
    [InlineData(false, 0x800)]
    [InlineData(true, 0)]
    public void Tensors_are_used_where_they_lie(bool wide, ushort flags)
    {
        byte[] pickle = PickleWriter.StateDictionary("0", "FloatStorage", 12, 0, [3, 4], [4, 1]);
        using PyTorchFile file = Open(new TorchArchive { Wide = wide, Flags = flags }.With(pickle, Numbers).ToBytes());
        StoredTensor tensor = Assert.Single(file.Tensors).Value;
        Assert.Equal((DataType.Float32, "[3, 4]"), (tensor.Type, StoredTensor.ShapeText(tensor.Shape)));
        Assert.IsType<MappedFile>(tensor.Memory);
        Assert.Equal(Numbers, Bytes(tensor));
    }

    [Fact]
    public void An_archive_of_another_writer_is_read_too()
    {
        using MemoryStream stream = new();
        using (ZipArchive zip = new(stream, ZipArchiveMode.Create, leaveOpen: true))
        {
            Add("m/data.pkl", PickleWriter.StateDictionary("0", "FloatStorage", 12, 0, [12], [1]));
            Add("m/data/0", Numbers);

            void Add(string name, byte[] data)
            {
                using Stream entry = zip.CreateEntry(name, CompressionLevel.NoCompression).Open();
                entry.Write(data);
            }
        }

        using PyTorchFile file = Open(stream.ToArray());
        Assert.Equal(Numbers, Bytes(file.Tensors["a"]));
    }

    [Theory]
    [InlineData(0, new long[] { 4, 3 }, new long[] { 1, 4 }, new float[] { 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11 })]
    [InlineData(1, new long[] { 2, 2 }, new long[] { 4, 2 }, new float[] { 1, 3, 5, 7 })]
    [InlineData(2, new long[] { 3 }, new long[] { 1 }, new float[] { 2, 3, 4 })]
    [InlineData(5, new long[] { }, new long[] { }, new float[] { 5 })]
    [InlineData(12, new long[] { 0, 3 }, new long[] { 3, 1 }, new float[] { })]
    [InlineData(0, new long[] { 1, 12 }, new long[] { long.MaxValue, 1 }, new float[] { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 })]
    [InlineData(0, new long[] { 3, 2, 2 }, new long[] { 1, 6, 3 }, new float[] { 0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11 })]
    public void Views_are_laid_out_row_by_row(long offset, long[] shape, long[] strides, float[] expected)
    {
        byte[] pickle = PickleWriter.StateDictionary("0", "FloatStorage", 12, offset, shape, strides);
        using PyTorchFile file = Open(TorchArchive.Of(pickle, Numbers).ToBytes());
        Assert.Equal(expected, MemoryMarshal.Cast<byte, float>(Bytes(file.Tensors["a"])).ToArray());
    }

    [Theory]
    [InlineData("HalfStorage", DataType.Float16)]
    [InlineData("BFloat16Storage", DataType.BFloat16)]
    [InlineData("DoubleStorage", DataType.Float64)]
    [InlineData("LongStorage", DataType.Int64)]
    [InlineData("IntStorage", DataType.Int32)]
    [InlineData("ShortStorage", DataType.Int16)]
    [InlineData("CharStorage", DataType.Int8)]
    [InlineData("ByteStorage", DataType.UInt8)]
    [InlineData("BoolStorage", DataType.Boolean)]
    public void Every_storage_type_is_known(string storage, DataType type)
    {
        int count = 48 / type.Size();
        byte[] pickle = PickleWriter.StateDictionary("0", storage, count, 0, [count], [1]);
        using PyTorchFile file = Open(TorchArchive.Of(pickle, Numbers).ToBytes());
        Assert.Equal(type, file.Tensors["a"].Type);
    }

    [Theory]
    [InlineData(13, 0, new long[] { 12 }, new long[] { 1 }, "should hold 13 elements")]
    [InlineData(12, 1, new long[] { 12 }, new long[] { 1 }, "does not fit")]
    [InlineData(12, -1, new long[] { 2 }, new long[] { 1 }, "does not fit")]
    [InlineData(12, long.MaxValue, new long[] { 2 }, new long[] { 1 }, "does not fit")]
    [InlineData(12, 0, new long[] { 2 }, new long[] { -1 }, "does not fit")]
    [InlineData(12, 0, new long[] { -2 }, new long[] { 1 }, "does not fit")]
    [InlineData(12, 0, new long[] { 2, 2 }, new long[] { 1 }, "does not fit")]
    [InlineData(12, 0, new long[] { 2, 2 }, new long[] { long.MaxValue, long.MaxValue }, "does not fit")]
    [InlineData(12, 0, new long[] { 1L << 40 }, new long[] { 0 }, "does not fit")]
    [InlineData(12, 0, new long[] { long.MaxValue, long.MaxValue }, new long[] { 0, 0 }, "does not fit")]
    public void A_view_that_leaves_its_storage_is_named(long count, long offset, long[] shape, long[] strides, string problem)
    {
        byte[] pickle = PickleWriter.StateDictionary("0", "FloatStorage", count, offset, shape, strides);
        Refused(TorchArchive.Of(pickle, Numbers).ToBytes(), "'a'", problem);
    }

    [Fact]
    public void A_state_dictionary_with_version_numbers_and_parameters_is_read()
    {
        byte[] pickle = new PickleWriter().OrderedDictionary().Raw((byte)'(').Text("a")
            .Global("torch._utils", "_rebuild_parameter").Raw((byte)'(')
            .Tensor("0", "FloatStorage", 12, 0, [12], [1]).Raw(0x88).OrderedDictionary().Raw("tR"u8)
            .Raw((byte)'u')
            .Raw("}"u8).Text("_metadata").OrderedDictionary().Raw((byte)'(').Text("").Raw("}"u8).Text("version").Integer(1).Raw("su"u8)
            .Raw("sb."u8).ToBytes();
        using PyTorchFile file = Open(TorchArchive.Of(pickle, Numbers).ToBytes());
        Assert.Equal(Numbers, Bytes(file.Tensors["a"]));
    }

    [Fact]
    public void Two_names_of_one_storage_share_its_bytes()
    {
        byte[] pickle = new PickleWriter().OrderedDictionary().Raw((byte)'(')
            .Text("a").Tensor("0", "FloatStorage", 12, 0, [12], [1]).Raw((byte)'q', 7)
            .Text("b").Raw((byte)'h', 7).Raw("u."u8).ToBytes();
        using PyTorchFile file = Open(TorchArchive.Of(pickle, Numbers).ToBytes());
        Assert.True(file.Tensors["a"].HasSameBytesAs(file.Tensors["b"]));
        Assert.Equal(file.Tensors["a"].ByteOffset, file.Tensors["b"].ByteOffset);
    }

    [Theory]
    [InlineData("os", "system")]
    [InlineData("builtins", "eval")]
    [InlineData("torch.storage", "_load_from_bytes")]
    [InlineData("torch", "load")]
    [InlineData("collections", "OrderedDict.fromkeys")]
    [InlineData("torch", "QUInt8Storage")]
    public void Any_other_Python_object_is_refused_by_name(string module, string name) => Refused(
        TorchArchive.Of(new PickleWriter().Global(module, name).Raw((byte)'(').Text("touch /tmp/x").Raw("tR."u8).ToBytes()).ToBytes(),
        $"'{module}.{name}'", "nothing was executed");

    [Fact]
    public void A_global_named_by_the_stack_is_refused_alike() => Refused(
        TorchArchive.Of(new PickleWriter().Text("posix").Text("system").Raw(0x93).Raw("."u8).ToBytes()).ToBytes(), "'posix.system'");

    public static TheoryData<string, byte[], string> BadPickles => new()
    {
        { "empty", [], "does not begin" },
        { "protocol 0", [(byte)'N', (byte)'.'], "does not begin" },
        { "protocol 9", [0x80, 9, (byte)'N', (byte)'.'], "does not begin" },
        { "no stop", new PickleWriter().Raw((byte)'N').ToBytes(), "is cut off" },
        { "nothing left", new PickleWriter().Raw((byte)'.').ToBytes(), "one value" },
        { "two values left", new PickleWriter().Raw("NN."u8).ToBytes(), "one value" },
        { "an open mark", new PickleWriter().Raw("N(."u8).ToBytes(), "one value" },
        { "something behind", new PickleWriter().Raw("N.N"u8).ToBytes(), "one value" },
        { "not a dictionary", new PickleWriter().Raw("N."u8).ToBytes(), "dictionary of tensors" },
        { "not tensors", new PickleWriter().Raw("}"u8).Text("a").Integer(1).Raw("s."u8).ToBytes(), "'a' is not a tensor" },
        { "an instance", new PickleWriter().Raw("(ios\nsystem\n."u8).ToBytes(), "instruction 0x69" },
        { "a new object", new PickleWriter().OrderedDictionary().Raw((byte)')', 0x81).ToBytes(), "instruction 0x81" },
        { "an extension", new PickleWriter().Raw(0x82, 1).ToBytes(), "instruction 0x82" },
        { "an empty stack", new PickleWriter().Raw("R"u8).ToBytes(), "not there" },
        { "no mark", new PickleWriter().Raw("Nt"u8).ToBytes(), "mark" },
        { "below the mark", new PickleWriter().Raw((byte)'N', (byte)'(', 0x85).ToBytes(), "not there" },
        { "an unknown memo", new PickleWriter().Raw((byte)'h', 3).ToBytes(), "value 3" },
        { "a huge memo", new PickleWriter().Raw((byte)'N', (byte)'r', 255, 255, 255, 255, (byte)'.').ToBytes(), "dictionary of tensors" },
        { "a huge string", new PickleWriter().Raw((byte)'X', 255, 255, 255, 255).ToBytes(), "cut off" },
        { "a huge number", new PickleWriter().Raw(0x8a, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1).ToBytes(), "64 bits" },
        { "bad UTF-8", new PickleWriter().Raw((byte)'X', 1, 0, 0, 0, 0xff).ToBytes(), "UTF-8" },
        { "keys that are no strings", new PickleWriter().Raw("}"u8).Integer(1).Integer(1).Raw("s."u8).ToBytes(), "keys" },
        { "a key twice", new PickleWriter().Raw("}("u8).Text("a").Raw("N"u8).Text("a").Raw("Nu."u8).ToBytes(), "'a' twice" },
        { "items of a list", new PickleWriter().Raw("]NNs."u8).ToBytes(), "not a dictionary" },
        { "appending to a dictionary", new PickleWriter().Raw("}Na."u8).ToBytes(), "not a list" },
        { "a list in itself", new PickleWriter().Raw("]q\0h\0a."u8).ToBytes(), "dictionary of tensors" },
        { "attributes", new PickleWriter().Raw("}}"u8).Text("__class__").Raw("Nsb."u8).ToBytes(), "attributes" },
        { "calling a string", new PickleWriter().Text("f").Raw(")R."u8).ToBytes(), "not a function" },
        { "calling a storage type", new PickleWriter().Global("torch", "FloatStorage").Raw(")R."u8).ToBytes(), "torch.FloatStorage" },
        { "wrong arguments", new PickleWriter().Global("torch._utils", "_rebuild_tensor_v2").Raw(")R."u8).ToBytes(), "_rebuild_tensor_v2" },
        { "a wrong id", new PickleWriter().Text("storage").Raw("Q."u8).ToBytes(), "not a storage" },
        { "a negative storage", new PickleWriter().Storage("0", "FloatStorage", -1).Raw("."u8).ToBytes(), "not a storage" },
        { "deep marks", [0x80, 2, .. Enumerable.Repeat((byte)'(', 2_000_000)], "instructions" },
        { "deep lists", [0x80, 2, .. Enumerable.Repeat((byte)']', 2_000_000)], "instructions" },
    };

    [Theory]
    [MemberData(nameof(BadPickles))]
    public void A_pickle_that_no_writer_of_tensors_makes_is_refused(string name, byte[] pickle, string problem)
    {
        Assert.NotEmpty(name);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Refused(TorchArchive.Of(pickle, Numbers).ToBytes(), problem);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200_000_000);
    }

    [Fact]
    public void A_storage_that_is_not_there_is_named()
    {
        byte[] pickle = PickleWriter.StateDictionary("../0", "FloatStorage", 12, 0, [12], [1]);
        Refused(TorchArchive.Of(pickle, Numbers).ToBytes(), "'../0'", "not there");
    }

    [Fact]
    public void Archives_that_are_something_else_are_named()
    {
        byte[] good = PickleWriter.StateDictionary("0", "FloatStorage", 12, 0, [12], [1]);
        Refused(good, "before 1.6", "torch.save(torch.load");
        Refused([1, 2, 3, 4], "not a zip archive");
        Refused(new TorchArchive().Add("a/b", [1]).ToBytes(), "no data.pkl");
        Refused(new TorchArchive().Add("a/data.pkl", good).Add("b/data.pkl", good).ToBytes(), "more than one data.pkl");
        Refused(TorchArchive.Of(good, Numbers).Add("archive/constants.pkl", [1]).ToBytes(), "TorchScript");
        Refused(TorchArchive.Of(good, Numbers).Add("archive/data/0", [1]).ToBytes(), "'archive/data/0' twice");
        Refused(new TorchArchive().Add("a/data.pkl", good).Add("a/byteorder", "big"u8).ToBytes(), "byte order is 'big'");
        Refused(new TorchArchive().Add("a/data.pkl", good).Add("a/version", "99"u8).ToBytes(), "version is '99'");
        Refused(new TorchArchive { Method = 8 }.With(good, Numbers).ToBytes(), "deflate");
        Refused(new TorchArchive { Flags = 0x809 }.With(good, Numbers).ToBytes(), "encrypted");
    }

    /// <summary>
    /// Flags, method, checksum, lengths and name stand in the local header again; readers that believe it must see the same.
    /// </summary>
    [Theory]
    [InlineData(6)]
    [InlineData(8)]
    [InlineData(14)]
    [InlineData(18)]
    [InlineData(22)]
    [InlineData(30)]
    public void A_local_header_that_disagrees_with_the_directory_is_named(int offset)
    {
        byte[] pickle = PickleWriter.StateDictionary("0", "FloatStorage", 12, 0, [12], [1]);
        byte[] archive = new TorchArchive { Flags = 0x800 }.With(pickle, Numbers).ToBytes();
        archive[offset] ^= 2;
        Refused(archive, "local header of 'archive/data.pkl' disagrees");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_data_descriptor_that_disagrees_with_the_directory_is_named(bool wide)
    {
        byte[] pickle = PickleWriter.StateDictionary("0", "FloatStorage", 12, 0, [12], [1]);
        byte[] archive = new TorchArchive { Wide = wide }.With(pickle, Numbers).ToBytes();
        for (int offset = 4; offset < (wide ? 24 : 16); offset++)
        {
            byte[] changed = [.. archive];
            changed[archive.AsSpan().IndexOf("PK\u0007\u0008"u8) + offset] ^= 1;
            Refused(changed, "data descriptor of 'archive/data.pkl' disagrees");
        }
    }

    /// <summary>A checksum, every copy of a length, and the data itself: one bit in any of them is noticed.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_bit_flip_anywhere_is_refused_or_changes_nothing(bool wide)
    {
        byte[] pickle = PickleWriter.StateDictionary("0", "FloatStorage", 12, 0, [12], [1]);
        byte[] original = new TorchArchive { Wide = wide }.With(pickle, Numbers).ToBytes();
        int accepted = 0;
        for (int bit = 0; bit < original.Length * 8; bit++)
        {
            byte[] flipped = [.. original];
            flipped[bit / 8] ^= (byte)(1 << (bit % 8));
            try
            {
                using PyTorchFile file = Open(flipped);
                Assert.Equal(Numbers, Bytes(Assert.Single(file.Tensors).Value));
                Assert.Equal("a", file.Tensors.Keys.Single());
                accepted++;
            }
            catch (CheckpointException)
            {
                continue;
            }
        }

        // Dates, versions, attributes and padding mean nothing.
        Assert.InRange(accepted, 1, original.Length * 8 / 2);
    }

    private static byte[] Bytes(StoredTensor tensor) => tensor.Memory.Span(tensor.ByteOffset, (int)tensor.ByteLength).ToArray();

    private PyTorchFile Open(byte[] bytes) => PyTorchFile.Open(_folder.Write("pytorch_model.bin", bytes));

    private void Refused(byte[] bytes, params string[] problems)
    {
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Open(bytes));
        Assert.All(problems, problem => Assert.Contains(problem, refusal.Message));
    }
}
