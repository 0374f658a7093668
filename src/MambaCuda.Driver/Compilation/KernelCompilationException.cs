namespace MambaCuda.Driver;

/// <summary>A program does not compile. The message begins with the first error, and ends with the whole log.</summary>
public sealed class KernelCompilationException : Exception
{
    internal KernelCompilationException(
        KernelProgram program,
        GpuArchitecture architecture,
        IReadOnlyList<string> options,
        CudaVersion compiler,
        string errorName,
        string log)
        : this(program, architecture, options, compiler, errorName, log.Trim(), KernelDiagnostic.Parse(log))
    {
    }

    private KernelCompilationException(
        KernelProgram program,
        GpuArchitecture architecture,
        IReadOnlyList<string> options,
        CudaVersion compiler,
        string errorName,
        string log,
        IReadOnlyList<KernelDiagnostic> diagnostics)
        : base(Describe(program, architecture, options, compiler, errorName, log, diagnostics))
    {
        KernelDiagnostic? first = FirstError(diagnostics);
        Program = program.Name;
        File = first?.File;
        Line = first?.Line;
        Architecture = architecture;
        Options = options;
        CompilerVersion = compiler;
        Diagnostics = diagnostics;
        Log = log;
    }

    /// <summary>The name of the program.</summary>
    public string Program { get; }

    /// <summary>The source or header of the first error; null where it is about none, as with a wrong option.</summary>
    public string? File { get; }

    /// <summary>The line of the first error, from 1; null where it is about none.</summary>
    public int? Line { get; }

    /// <summary>What it was compiled for.</summary>
    public GpuArchitecture Architecture { get; }

    /// <summary>All options that the compiler was given.</summary>
    public IReadOnlyList<string> Options { get; }

    /// <summary>The version of NVRTC.</summary>
    public CudaVersion CompilerVersion { get; }

    /// <summary>The messages of the log, in order.</summary>
    public IReadOnlyList<KernelDiagnostic> Diagnostics { get; }

    /// <summary>The whole log.</summary>
    public string Log { get; }

    private static KernelDiagnostic? FirstError(IReadOnlyList<KernelDiagnostic> diagnostics) =>
        diagnostics.FirstOrDefault(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);

    private static string Describe(
        KernelProgram program,
        GpuArchitecture architecture,
        IReadOnlyList<string> options,
        CudaVersion compiler,
        string errorName,
        string log,
        IReadOnlyList<KernelDiagnostic> diagnostics)
    {
        int errors = diagnostics.Count(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        string more = errors > 1 ? $" (and {errors - 1} more)" : "";
        string hint = log.Contains("libnvrtc-builtins", StringComparison.Ordinal)
            ? "\nThe library nvrtc-builtins of the same version must lie in NVRTC's folder."
            : "";
        return $"""
            {FirstError(diagnostics)?.ToString() ?? $"{program.Name}: {errorName}"}{more}
            {program.Name} was compiled for {architecture} by NVRTC {compiler} with {string.Join(' ', options)}{hint}
            {log}
            """;
    }
}
