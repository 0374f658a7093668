using System.Globalization;
using System.Reflection;
using System.Text;
using MambaCuda.Driver;
using MambaCuda.Driver.Tests;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>
/// The device code that the assembly carries, compiled for every architecture by the real NVRTC that is here: in processes of their own, since
/// in this one NVRTC may be the host device's.
/// </summary>
public sealed class KernelSourceTests
{
    // Set to anything, for all variants of every file on the newest architecture: a third more of the time that all tests take.
    private const string AllVariable = "MAMBACUDA_TEST_ALL_VARIANTS";

    // Instances that one process compiles, within the time that a child process has.
    private const int PartSize = 12;

    private const int ManyVariants = 32;
    private const int NewestStrideOfMany = 11;
    private const int OldestStrideOfFew = 7;

    // The app's own folder, where there is no library: NVRTC is then looked for where it is installed.
    private static readonly Dictionary<string, string?> RealNvrtc = new() { [HostDevice.PathVariable] = AppContext.BaseDirectory };

    // NVRTC 11.8 compiles one program of a process at a time.
    private static readonly ParallelOptions ManyProcesses = new() { MaxDegreeOfParallelism = Environment.ProcessorCount };

    private static string[] Names =>
        [.. typeof(Backend).Assembly.GetManifestResourceNames().Where(name => name.StartsWith("native/", StringComparison.Ordinal))];

    private static IReadOnlyList<IKernelFamily> Families => CudaBackend.KernelFamilies;

    [Fact]
    public void The_assembly_carries_the_headers() => Assert.Contains("native/include/mamba/types.cuh", Names);

    [Fact]
    public void Every_kernel_file_has_a_family_and_every_family_its_variants()
    {
        Assert.Equal(KernelSources.Kernels.Order(), Families.Select(family => family.File).Distinct().Order());
        Assert.All(Families, family => Assert.Equal(family.Expressions.Count(), family.Expressions.Distinct().Count()));
        Assert.All(Families, family => Assert.NotEmpty(family.Expressions));

        // A family of an instance, or one that is not in the list, would be outside of all that goes through them.
        const BindingFlags All = BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static;
        FieldInfo[] fields =
            [.. typeof(CudaBackend).GetFields(All).Where(field => typeof(IKernelFamily).IsAssignableFrom(field.FieldType))];
        Assert.All(fields, field => Assert.True(field.IsStatic, field.Name));
        Assert.Equal(fields.Select(field => field.GetValue(null)).ToHashSet(), Families.ToHashSet<object?>());
        Assert.Equal(fields.Length, Families.Count);
    }

    [Fact]
    public async Task Every_header_and_kernel_compiles_for_every_architecture()
    {
        string found = await ChildProcess.Run(ListArchitectures, RealNvrtc);
        string[] architectures = found.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        Assert.SkipWhen(architectures.Length == 0, "There is no NVRTC here.");

        string[] files = [.. Families.Select(family => family.File).Distinct()];
        string[] between = [.. architectures.Skip(1).SkipLast(1)];
        IEnumerable<(string Architectures, string File, int Stride, int Part)> work =
            from file in files.Prepend("")
            from samples in new (string[] Architectures, int Stride)[]
            {
                ([architectures[0]], OldestStride(file)), (file.Length > 0 ? between : [], int.MaxValue), ([architectures[^1]], NewestStride(file)),
            }
            let takers = samples.Architectures.Where(each => ComputeCapability.FromNumber(NumberOf(each)) >= OldestOf(file)).ToArray()
            where takers.Length > 0
            from part in Enumerable.Range(0, PartsOf(file, samples.Stride))
            select (string.Join(' ', takers), file, samples.Stride, part);
        await Parallel.ForEachAsync(work, ManyProcesses, async (item, _) =>
        {
            string output = await ChildProcess.Run(Compile, RealNvrtc, item.Architectures, item.File, Word(item.Stride), Word(item.Part));
            Assert.True(output.Contains("compiled", StringComparison.Ordinal), $"{item} said nothing: {output}");
        });
    }

    // All that device code asks an architecture for is whether it is 8.0 or 9.0. So the newest gets every variant of a file, of those that have
    // very many every eleventh, the oldest every seventh or, of very many, the first and the last, as those between. Variants differ in switches
    // of two or three values, none of which stays the same at these strides. What is left out is compiled where a test of an operation takes
    // it, by the host device, and by NVRTC where the variable asks for it. Cards that do without a kernel are not asked for it; headers by
    // themselves are compiled for the oldest and the newest, and for those between with the kernels.
    private static int NewestStride(string file) =>
        HasMany(file) && Environment.GetEnvironmentVariable(AllVariable) is null ? NewestStrideOfMany : 1;

    private static int OldestStride(string file) => HasMany(file) ? int.MaxValue : OldestStrideOfFew;

    private static bool HasMany(string file) => VariantsOf(file).Length > ManyVariants;

    private static ComputeCapability OldestOf(string file) =>
        Families.Where(family => family.File == file).Select(family => family.Oldest).DefaultIfEmpty().Min();

    private static int NumberOf(string architecture) => int.Parse(architecture.Replace(".", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);

    /// <summary>
    /// NVRTC before 12 has no instructions of sm_90a, but hands on what it does not know: the kernels that have them are compiled, with the
    /// operands of their inline PTX, and only the assembler does not see the result.
    /// </summary>
    [Fact]
    public async Task Kernels_for_instructions_of_one_generation_become_PTX()
    {
        Assert.SkipUnless((await ChildProcess.Run(ListArchitectures, RealNvrtc)).Contains("9.0", StringComparison.Ordinal), "No NVRTC here knows 9.0.");
        string[] files = [.. Families.Where(family => family.Suffix.Length > 0).Select(family => family.File).Distinct()];
        Assert.NotEmpty(files);
        await Parallel.ForEachAsync(files, ManyProcesses, async (file, _) =>
            Assert.Contains("wgmma", await ChildProcess.Run(CompileToPtx, RealNvrtc, file), StringComparison.Ordinal));
    }

    private static string Word(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static void ListArchitectures()
    {
        if (RuntimeCompiler.Search.IsFound)
        {
            foreach (ComputeCapability architecture in RuntimeCompiler.Load().SupportedArchitectures.Where(each => each >= CudaBackend.OldestCapability))
            {
                Console.WriteLine(architecture);
            }
        }
    }

    /// <summary>Compiles a part of the instances of a kernel file, or where its name is empty each header by itself.</summary>
    private static void Compile(string architectures, string file, string stride, string part)
    {
        KernelProgram[] programs = file.Length == 0
            ? [.. KernelSources.Headers.Keys.Select(Only)]
            : [PartOf(file, int.Parse(stride, CultureInfo.InvariantCulture), int.Parse(part, CultureInfo.InvariantCulture))];
        foreach (string architecture in architectures.Split(' '))
        {
            GpuArchitecture target = new(ComputeCapability.FromNumber(NumberOf(architecture)));
            foreach (KernelProgram program in programs)
            {
                Assert.NotEmpty(RuntimeCompiler.Load().Compile(program, target).Image.ToArray());
            }
        }

        Console.WriteLine($"compiled {programs.Length} for {architectures}");
    }

    /// <summary>Compiles some instances of a kernel file that are for sm_90a, as PTX.</summary>
    private static void CompileToPtx(string file)
    {
        GpuArchitecture target = new(ComputeCapability.FromNumber(90), IsVirtual: true);
        KernelProgram program = new(file, KernelSources.Kernel(file))
        {
            Headers = KernelSources.Headers,
            NameExpressions = [.. Sample(VariantsOf(file, isOfOneGeneration: true), stride: 3)],
            Options = [.. KernelLibrary.Options, "-D__CUDA_ARCH_FEAT_SM90_ALL"],
        };
        string ptx = Encoding.ASCII.GetString(RuntimeCompiler.Load().Compile(program, target).Image.Span);
        Console.WriteLine(ptx.Contains("wgmma.mma_async", StringComparison.Ordinal) ? "wgmma" : "none");
    }

    private static int PartsOf(string file, int stride) => file.Length == 0 ? 1 : Expressions(file, stride).Chunk(PartSize).Count();

    private static IEnumerable<string> Expressions(string file, int stride) => Sample(VariantsOf(file), stride);

    private static IEnumerable<string> Sample(string[] variants, int stride) =>
        variants.Where((_, number) => number == variants.Length - 1 || number % stride == 0);

    private static string[] VariantsOf(string file, bool isOfOneGeneration = false) =>
        [.. Families.Where(family => family.File == file && family.Suffix.Length > 0 == isOfOneGeneration).SelectMany(family => family.Expressions)];

    private static KernelProgram PartOf(string file, int stride, int part) =>
        KernelLibrary.Program(file, Expressions(file, stride).Chunk(PartSize).ElementAt(part));

    private static KernelProgram Only(string header) => new($"{header}.cu", $"#include \"{header}\"\nextern \"C\" __global__ void empty() {{}}\n")
    {
        Headers = KernelSources.Headers,
        Options = KernelLibrary.Options,
    };
}
