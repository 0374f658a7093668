using System.Security.Cryptography;

namespace MambaCuda.Driver.Tests;

/// <summary>The compiler with its cache on disk.</summary>
public sealed class KernelCompilerTests : IDisposable
{
    private static readonly GpuArchitecture Ampere = new(new ComputeCapability(8, 0));
    private readonly TemporaryFolder _folder = new();

    private const string Source = "#include \"h.cuh\"\ntemplate <int N> __global__ void k(int* x) { *x = N + H; }\n";

    private static KernelProgram Small { get; } = new("k.cu", Source)
    {
        Headers = new Dictionary<string, string> { ["h.cuh"] = "#define H 1\n" },
        NameExpressions = ["k<3>"],
        Options = ["-DA=1"],
    };

    [Fact]
    public void A_second_compiler_reads_what_the_first_left_and_does_not_compile()
    {
        KernelCompiler first = Create();
        CompiledProgram compiled = first.Compile(Small, Ampere);
        KernelCompiler second = Create();
        CompiledProgram cached = second.Compile(Small, Ampere);

        Assert.Equal((1, 0), (first.CompilationCount, first.CacheHitCount));
        Assert.Equal((0, 1), (second.CompilationCount, second.CacheHitCount));
        Assert.False(compiled.IsFromCache);
        Assert.True(cached.IsFromCache);
        Assert.Equal(compiled.Image.ToArray(), cached.Image.ToArray());
        Assert.Equal(compiled.LoweredNames, cached.LoweredNames);
        Assert.Equal(compiled.Log, cached.Log);
        Assert.Equal(compiled.Architecture, cached.Architecture);
    }

    [Fact]
    public void Warnings_survive_in_the_cache()
    {
        KernelProgram program = new("odd.cu", "__global__ void k() { int unused; }");
        string log = Create().Compile(program, Ampere).Log;
        Assert.NotEmpty(log);
        Assert.Equal(log, Create().Compile(program, Ampere).Log);
    }

    [Fact]
    public void Whatever_can_change_the_binary_changes_the_key()
    {
        Create().Compile(Small, Ampere);
        Dictionary<string, string> headers = new(Small.Headers);
        (string What, KernelProgram Program, GpuArchitecture Architecture)[] changes =
        [
            ("source", new("k.cu", Small.Source + " ") { Headers = headers, NameExpressions = ["k<3>"], Options = ["-DA=1"] }, Ampere),
            ("name", new("l.cu", Small.Source) { Headers = headers, NameExpressions = ["k<3>"], Options = ["-DA=1"] }, Ampere),
            ("header", With(new() { ["h.cuh"] = "#define H 2\n" }, ["k<3>"], ["-DA=1"]), Ampere),
            ("another header", With(new() { ["h.cuh"] = "#define H 1\n", ["i.cuh"] = "" }, ["k<3>"], ["-DA=1"]), Ampere),
            ("option", With(headers, ["k<3>"], ["-DA=2"]), Ampere),
            ("no option", With(headers, ["k<3>"], []), Ampere),
            ("name expression", With(headers, ["k<4>"], ["-DA=1"]), Ampere),
            ("architecture", Small, new GpuArchitecture(new ComputeCapability(8, 6))),
            ("PTX", Small, Ampere with { IsVirtual = true }),
        ];
        KernelCompiler compiler = Create();
        for (int i = 0; i < changes.Length; i++)
        {
            Assert.False(compiler.Compile(changes[i].Program, changes[i].Architecture).IsFromCache, $"Another {changes[i].What} hit.");
        }

        Assert.Equal((changes.Length, 0), (compiler.CompilationCount, compiler.CacheHitCount));
        Assert.True(compiler.Compile(With(headers, ["k<3>"], ["-DA=1"]), Ampere).IsFromCache);
    }

    [Fact]
    public void Another_compiler_build_and_texts_that_run_together_change_the_key()
    {
        byte[] key = CacheKey.Of("NVRTC 12.4", Small, Ampere, ["-DA=1"]);
        Assert.Equal(key, CacheKey.Of("NVRTC 12.4", Small, Ampere, ["-DA=1"]));
        Assert.NotEqual(key, CacheKey.Of("NVRTC 12.5", Small, Ampere, ["-DA=1"]));
        Assert.NotEqual(CacheKey.Of("c", Small, Ampere, ["ab", "c"]), CacheKey.Of("c", Small, Ampere, ["a", "bc"]));
        Assert.NotEqual(CacheKey.Of("c", Small, Ampere, ["ab"]), CacheKey.Of("c", Small, Ampere, ["a", "b"]));
        KernelProgram expressions = new("k.cu", Small.Source) { NameExpressions = ["x"] };
        KernelProgram plain = new("k.cu", Small.Source);
        Assert.NotEqual(CacheKey.Of("c", plain, Ampere, ["x"]), CacheKey.Of("c", expressions, Ampere, []));
    }

    [Fact]
    public void The_order_in_which_headers_were_given_does_not_matter()
    {
        KernelProgram forth = With(new() { ["h.cuh"] = "#define H 1\n", ["i.cuh"] = "" }, [], []);
        KernelProgram back = With(new() { ["i.cuh"] = "", ["h.cuh"] = "#define H 1\n" }, [], []);
        Assert.Equal(CacheKey.Of("c", forth, Ampere, []), CacheKey.Of("c", back, Ampere, []));
    }

    [Fact]
    public void An_entry_with_any_damage_is_compiled_again_and_replaced()
    {
        byte[] image = Create().Compile(Small, Ampere).Image.ToArray();
        string path = Assert.Single(Directory.GetFiles(_folder.Path));
        byte[] good = File.ReadAllBytes(path);
        List<byte[]> damages = [[], [0], good[..7], good[..40], good[..100], good[..^1], [.. good, 0], new byte[good.Length]];
        foreach (int at in (int[])[0, 7, 8, 39, 40, 71, 72, good.Length / 2, good.Length - 1])
        {
            byte[] flipped = [.. good];
            flipped[at] ^= 1;
            damages.Add(flipped);
        }

        foreach (byte[] damage in damages)
        {
            File.WriteAllBytes(path, damage);
            KernelCompiler compiler = Create();
            Assert.False(compiler.Compile(Small, Ampere).IsFromCache, $"An entry of {damage.Length} bytes was taken.");
            CompiledProgram again = compiler.Compile(Small, Ampere);
            Assert.True(again.IsFromCache);
            Assert.Equal(image, again.Image.ToArray());
        }
    }

    [Fact]
    public void An_entry_under_another_key_is_not_taken()
    {
        Create().Compile(Small, Ampere);
        string one = Assert.Single(Directory.GetFiles(_folder.Path));
        KernelProgram other = With(new(Small.Headers), ["k<4>"], []);
        Create().Compile(other, Ampere);
        string two = Assert.Single(Directory.GetFiles(_folder.Path), path => path != one);
        File.Copy(one, two, overwrite: true);
        Assert.False(Create().Compile(other, Ampere).IsFromCache);
    }

    [Fact]
    public void A_folder_that_cannot_be_written_or_is_none_is_no_error()
    {
        string file = _folder.Write("occupied");
        KernelCache cache = new(Path.Combine(file, "below"));
        KernelCompiler compiler = new(Nvrtc.Compiler, cache);
        Assert.False(compiler.Compile(Small, Ampere).IsFromCache);
        Assert.False(compiler.Compile(Small, Ampere).IsFromCache);
        Assert.NotNull(cache.Problem);
    }

    [Fact]
    public void An_entry_that_is_a_folder_is_no_error()
    {
        Create().Compile(Small, Ampere);
        string path = Assert.Single(Directory.GetFiles(_folder.Path));
        File.Delete(path);
        Directory.CreateDirectory(path);
        KernelCompiler compiler = Create();
        Assert.False(compiler.Compile(Small, Ampere).IsFromCache);
        Assert.NotNull(compiler.Cache!.Problem);
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void Without_a_cache_everything_is_compiled()
    {
        KernelCompiler compiler = new(Nvrtc.Compiler, null);
        compiler.Compile(Small, Ampere);
        Assert.False(compiler.Compile(Small, Ampere).IsFromCache);
        Assert.Equal(2, compiler.CompilationCount);
    }

    [Fact]
    public void What_does_not_compile_is_not_kept()
    {
        KernelCompiler compiler = Create();
        KernelProgram wrong = new("k.cu", "nope");
        KernelCompilationException exception = Assert.Throws<KernelCompilationException>(() => compiler.Compile(wrong, Ampere));
        Assert.Equal(1, exception.Line);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void A_file_of_the_working_folder_is_never_included()
    {
        string name = $"stray-{Guid.NewGuid():N}.cuh";
        string stray = Path.Combine(Directory.GetCurrentDirectory(), name);
        File.WriteAllText(stray, "#define H 1\n");
        try
        {
            KernelProgram direct = new("k.cu", $"#include \"{name}\"\n__global__ void k(int* x) {{ *x = H; }}\n");
            KernelProgram nested = new("k.cu", "#include \"h.cuh\"\n__global__ void k(int* x) { *x = H; }\n")
            {
                Headers = new Dictionary<string, string> { ["h.cuh"] = $"#include \"{name}\"\n" },
            };

            // Left to itself the compiler does read it: this test would notice if that way of asking no longer told anything.
            RuntimeCompiler compiler = Nvrtc.Compiler;
            Assert.True(compiler.Compile(direct, Ampere).Image.Length > 0);
            Assert.Throws<KernelCompilationException>(() => Create().Compile(direct, Ampere));
            Assert.Throws<KernelCompilationException>(() => Create().Compile(nested, Ampere));
        }
        finally
        {
            File.Delete(stray);
        }
    }

    [Theory]
    [InlineData("-I/usr/include")]
    [InlineData("--include-path=/usr/include")]
    [InlineData("--pre-include=x.h")]
    public void Options_that_read_files_are_refused(string option)
    {
        KernelCompiler compiler = Create();
        ArgumentException exception = Assert.Throws<ArgumentException>(() => compiler.Compile(With([], [], [option]), Ampere));
        Assert.Contains(option, exception.Message, StringComparison.Ordinal);
        Assert.Contains("Headers", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Temporary_files_of_processes_that_died_are_removed()
    {
        string old = _folder.Write("a.kernel.b.tmp");
        string young = _folder.Write("c.kernel.d.tmp");
        File.SetLastWriteTimeUtc(old, DateTime.UtcNow.AddHours(-2));
        Create().Compile(Small, Ampere);
        Assert.False(File.Exists(old));
        Assert.True(File.Exists(young));
    }

    [Fact]
    public void Clearing_removes_entries_and_nothing_else()
    {
        string other = _folder.Write("readme.txt");
        KernelCompiler compiler = Create();
        compiler.Compile(Small, Ampere);
        compiler.Cache!.Clear();
        Assert.Equal([other], Directory.GetFiles(_folder.Path));
        Assert.False(compiler.Compile(Small, Ampere).IsFromCache);
    }

    [Fact]
    public void Threads_share_one_compiler()
    {
        KernelCompiler compiler = Create();
        int[] sizes = new int[16];
        Parallel.For(0, sizes.Length, i => sizes[i] = compiler.Compile(Instance(i % 3), Ampere).Image.Length);
        Assert.All(sizes, size => Assert.True(size > 0));
        Assert.Equal(sizes.Length, compiler.CompilationCount + compiler.CacheHitCount);
        Assert.Equal(3, Directory.GetFiles(_folder.Path).Length);
    }

    private static void CompileMany(string folder)
    {
        KernelCompiler compiler = new(RuntimeCompiler.Load(), new KernelCache(folder));
        for (int round = 0; round < 5; round++)
        {
            for (int n = 0; n < 4; n++)
            {
                Console.WriteLine(Fingerprint(compiler.Compile(Instance(n), Ampere)));
            }

            // So that the processes collide in every round.
            new KernelCache(folder).Clear();
        }
    }

    [Fact]
    public async Task Many_processes_write_one_cache_and_all_get_what_is_right()
    {
        KernelCompiler uncached = new(Nvrtc.Compiler, null);
        string[] expected = [.. Enumerable.Range(0, 4).Select(n => Fingerprint(uncached.Compile(Instance(n), Ampere)))];
        Dictionary<string, string?> variables = [];
        string[] outputs = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => ChildProcess.Run(CompileMany, variables, _folder.Path)));
        foreach (string output in outputs)
        {
            string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(Enumerable.Repeat(expected, 5).SelectMany(round => round), lines);
        }

        Assert.Empty(Directory.GetFiles(_folder.Path, "*.tmp"));
        KernelCompiler compiler = Create();
        compiler.Compile(Small, Ampere);
        Assert.True(compiler.Compile(Small, Ampere).IsFromCache);
    }

    private static void PrintDefaultFolder() => Console.WriteLine(KernelCache.OfUser?.Folder ?? "none");

    [Theory]
    [InlineData("/named", "/x", "/home/u", "/named")]
    [InlineData(null, "/x", "/home/u", "/x/mamba-cuda/kernels")]
    [InlineData(null, "relative", "/home/u", "/home/u/.cache/mamba-cuda/kernels")]
    [InlineData("", null, "/home/u", "/home/u/.cache/mamba-cuda/kernels")]
    public async Task The_users_folder_is_as_the_platform_has_it(string? named, string? cache, string home, string expected)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The folders are Linux's.");
        Dictionary<string, string?> variables = new() { ["MAMBACUDA_CACHE_DIR"] = named, ["XDG_CACHE_HOME"] = cache, ["HOME"] = home };
        Assert.Equal(expected, (await ChildProcess.Run(PrintDefaultFolder, variables)).Trim());
    }

    [Fact]
    public void The_folder_is_the_users_alone()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("Windows' user folders are the user's alone anyway.");
            return;
        }

        string folder = Path.Combine(_folder.Path, "new", "kernels");
        new KernelCompiler(Nvrtc.Compiler, new KernelCache(folder)).Compile(Small, Ampere);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(folder));
    }

    public void Dispose() => _folder.Dispose();

    private KernelCompiler Create() => new(Nvrtc.Compiler, new KernelCache(_folder.Path));

    private static KernelProgram With(Dictionary<string, string> headers, string[] expressions, string[] options) =>
        new("k.cu", Small.Source) { Headers = headers, NameExpressions = expressions, Options = options };

    private static KernelProgram Instance(int n) => With(new(Small.Headers), [$"k<{n}>"], []);

    private static string Fingerprint(CompiledProgram program) =>
        $"{Convert.ToHexString(SHA256.HashData(program.Image.Span))} {string.Join(' ', program.LoweredNames.Values)}";
}
