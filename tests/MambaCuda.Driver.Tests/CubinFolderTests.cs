namespace MambaCuda.Driver.Tests;

/// <summary>Programs compiled ahead of time are found where they fit, and nowhere else.</summary>
public sealed class CubinFolderTests : IDisposable
{
    private static readonly GpuArchitecture Hopper = new(new ComputeCapability(9, 0));
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void What_was_compiled_for_an_architecture_is_found_for_it_without_the_compiler()
    {
        CompiledProgram compiled = Make(Nvrtc.Scale);
        CubinFolder folder = new(_folder.Path);
        CompiledProgram? found = folder.Read(Nvrtc.Scale, Hopper);
        Assert.NotNull(found);
        Assert.Equal(compiled.Image.ToArray(), found.Image.ToArray());
        Assert.Equal(compiled.LoweredNames, found.LoweredNames);
        Assert.Equal(Hopper, found.Architecture);
        Assert.Equal([Hopper.Capability], folder.Capabilities);
        Assert.Equal(Path.Combine(_folder.Path, "sm_90"), Path.GetDirectoryName(OnlyFile()));
    }

    [Fact]
    public void Other_sources_headers_options_and_instances_are_not_found()
    {
        Make(Nvrtc.Scale);
        CubinFolder folder = new(_folder.Path);
        KernelProgram same = With(Nvrtc.Scale.Source, Nvrtc.Scale.Headers);
        Assert.NotNull(folder.Read(same, Hopper));
        Assert.Null(folder.Read(With(Nvrtc.Scale.Source + "\n", Nvrtc.Scale.Headers), Hopper));
        Assert.Null(folder.Read(With(Nvrtc.Scale.Source, new Dictionary<string, string> { ["mamba/factor.cuh"] = "#define FACTOR 4\n" }), Hopper));
        KernelProgram plain = new(Nvrtc.Scale.Name, Nvrtc.Scale.Source) { Headers = Nvrtc.Scale.Headers };
        Assert.Null(folder.Read(plain, Hopper));
    }

    [Fact]
    public void Another_architecture_is_not_found_even_where_its_file_lies()
    {
        Make(Nvrtc.Scale);
        GpuArchitecture ampere = new(new ComputeCapability(8, 0));
        CubinFolder folder = new(_folder.Path);
        Assert.Null(folder.Read(Nvrtc.Scale, ampere));
        string other = Directory.CreateDirectory(Path.Combine(_folder.Path, "sm_80")).FullName;
        File.Copy(OnlyFile(), Path.Combine(other, Path.GetFileName(OnlyFile())));
        Assert.Null(folder.Read(Nvrtc.Scale, ampere));
        Assert.Null(folder.Read(Nvrtc.Scale, Hopper with { Suffix = "a" }));
        Assert.Null(folder.Read(Nvrtc.Scale, Hopper with { IsVirtual = true }));
    }

    [Fact]
    public void What_is_damaged_is_not_taken()
    {
        Make(Nvrtc.Scale);
        byte[] good = File.ReadAllBytes(OnlyFile());
        CubinFolder folder = new(_folder.Path);
        foreach (byte[] damaged in new byte[][] { [], good[..^1], [.. good[..200], (byte)~good[200], .. good[201..]] })
        {
            File.WriteAllBytes(OnlyFile(), damaged);
            Assert.Null(folder.Read(Nvrtc.Scale, Hopper));
        }
    }

    [Fact]
    public void A_folder_that_is_not_there_has_nothing()
    {
        CubinFolder folder = new(Path.Combine(_folder.Path, "none"));
        Assert.Null(folder.Read(Nvrtc.Scale, Hopper));
        Assert.Empty(folder.Capabilities);
        Directory.CreateDirectory(Path.Combine(_folder.Path, "sm_x"));
        Assert.Empty(new CubinFolder(_folder.Path).Capabilities);
    }

    [Fact]
    public void A_folder_that_cannot_be_written_is_an_error()
    {
        string file = _folder.Write("occupied");
        CompiledProgram compiled = Nvrtc.Compiler.Compile(Nvrtc.Scale, Hopper);
        Assert.ThrowsAny<IOException>(() => new CubinFolder(file).Write(Nvrtc.Scale, compiled));
    }

    private static void PrintFolder() => Console.WriteLine(CubinFolder.OfApplication?.Path ?? "none");

    [Fact]
    public async Task The_applications_folder_is_the_named_one_where_it_is_there()
    {
        async Task<string> Found(string? named) =>
            (await ChildProcess.Run(PrintFolder, new Dictionary<string, string?> { [CubinFolder.PathVariable] = named })).Trim();
        Assert.Equal(_folder.Path, await Found(_folder.Path));
        Assert.Equal("none", await Found(Path.Combine(_folder.Path, "none")));
        Assert.Equal("none", await Found(null));
    }

    public void Dispose() => _folder.Dispose();

    private CompiledProgram Make(KernelProgram program)
    {
        CompiledProgram compiled = new KernelCompiler(Nvrtc.Compiler, cache: null).Compile(program, Hopper);
        new CubinFolder(_folder.Path).Write(program, compiled);
        return compiled;
    }

    private string OnlyFile() => Assert.Single(Directory.GetFiles(Path.Combine(_folder.Path, "sm_90")));

    private static KernelProgram With(string source, IReadOnlyDictionary<string, string> headers) => new(Nvrtc.Scale.Name, source)
    {
        Headers = headers,
        NameExpressions = Nvrtc.Scale.NameExpressions,
        Options = Nvrtc.Scale.Options,
    };
}
