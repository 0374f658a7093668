using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>
/// Mutated pytorch_model.bin files: as they lie, where checksums and doubled headers must notice; and with a mutated pickle behind
/// right checksums, where the unpickler stands alone.
/// </summary>
public sealed class HostilePyTorchTests : IDisposable
{
    private static readonly byte[] Numbers = [.. Enumerable.Range(0, 12).SelectMany(i => BitConverter.GetBytes((float)i))];
    private static readonly byte[] Halves = Numbers[..8];

    private static readonly byte[] Pickle = new PickleWriter().OrderedDictionary().Raw((byte)'(')
        .Text("weights").Tensor("0", "FloatStorage", 12, 0, [3, 4], [4, 1])
        .Text("turned").Tensor("0", "FloatStorage", 12, 0, [4, 3], [1, 4])
        .Text("half").Tensor("1", "BFloat16Storage", 4, 0, [4], [1]).Raw((byte)'q', 1)
        .Text("again").Raw((byte)'h', 1)
        .Raw("u}"u8).Text("_metadata").OrderedDictionary().Raw("sb."u8).ToBytes();

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Mutated_archives_are_refused_or_hold_the_same(bool wide)
    {
        byte[] original = new TorchArchive { Wide = wide }.With(Pickle, Numbers, Halves).ToBytes();
        Dictionary<string, string> expected = Describe(original);
        int refused = HostileFiles.Check(
            seed => FileMutation.Of(original, seed),
            bytes => Assert.Equal(expected, Describe(bytes)),
            e => e is CheckpointException);
        Assert.InRange(refused, HostileFiles.Count / 2, HostileFiles.Count - 1);
    }

    [Fact]
    public void Mutated_pickles_with_right_checksums_are_refused_or_stay_inside_their_storages()
    {
        int refused = HostileFiles.Check(
            seed => FileMutation.Of(Pickle, seed) is var mutation
                ? mutation with { Bytes = TorchArchive.Of(mutation.Bytes, Numbers, Halves).ToBytes() }
                : null!,
            bytes => Describe(bytes),
            e => e is CheckpointException);
        Assert.InRange(refused, HostileFiles.Count * 3 / 4, HostileFiles.Count - 1);
    }

    /// <summary>Instructions of the right kind in random order: recursion, marks without ends, memo loops, huge counts.</summary>
    [Fact]
    public void Random_programs_of_known_instructions_are_refused()
    {
        byte[] instructions = [.. "NKMJGXUT()tq]}aesurhjcQRb."u8, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x93, 0x94, 0x95];
        int refused = HostileFiles.Check(
            seed =>
            {
                Random random = new(seed);
                PickleWriter program = new();
                for (int i = random.Next(2000); i >= 0; i--)
                {
                    switch (random.Next(6))
                    {
                        case 0: program.Raw("]q\0h\0a"u8); break;
                        case 1: program.Tensor("0", "FloatStorage", 12, Near(-2, 14), [Near(-2, 14)], [Near(-2, 3)]); break;
                        case 2: program.OrderedDictionary().Text("k"); break;
                        default: program.Raw(instructions[random.Next(instructions.Length)]); break;
                    }
                }

                return new FileMutation(seed, "a random program", TorchArchive.Of(program.Raw((byte)'.').ToBytes(), Numbers).ToBytes());

                long Near(long least, long above) => random.NextInt64(least, above);
            },
            bytes => Describe(bytes),
            e => e is CheckpointException);
        Assert.Equal(HostileFiles.Count, refused);
    }

    /// <summary>Reads every byte of every tensor.</summary>
    private Dictionary<string, string> Describe(byte[] bytes)
    {
        using PyTorchFile file = PyTorchFile.Open(_folder.Write("pytorch_model.bin", bytes));
        return file.Tensors.Values.ToDictionary(
            tensor => tensor.Name, tensor => $"{tensor} {Convert.ToHexString(TinyCheckpoint.Bytes(tensor))}");
    }
}
