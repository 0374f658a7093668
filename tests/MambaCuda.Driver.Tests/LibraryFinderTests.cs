namespace MambaCuda.Driver.Tests;

/// <summary>The search for libraries, in a made-up file system where loading is recorded.</summary>
public sealed class LibraryFinderTests : IDisposable
{
    private readonly TemporaryFolder _machine = new();
    private readonly Dictionary<string, string> _variables = [];
    private readonly List<string> _loads = [];
    private readonly HashSet<string> _unloadable = [];
    private bool _isWindows;

    [Fact]
    public void Places_are_tried_in_the_documented_order()
    {
        string[] files =
        [
            Put("named/libnvrtc.so.12"),
            Put("app/libnvrtc.so.12"),
            Put("app/runtimes/linux-x64/native/libnvrtc.so.12"),
            Put("home-toolkit/lib64/libnvrtc.so.12"),
            Put("path-toolkit/targets/x86_64-linux/lib/libnvrtc.so.12"),
            Put("venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
            Put("conda/lib/libnvrtc.so.12"),
            Put("opt/python/lib/python3.11/site-packages/nvidia/cu13/lib/libnvrtc.so.12"),
            Put("home/.local/lib/python3.10/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
            Put("usr/lib/python3.10/dist-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
            Put("usr/lib/wsl/lib/libnvrtc.so.12"),
            Put("usr/local/cuda-12.4/lib64/libnvrtc.so.12"),
        ];
        Put("opt/python/bin/python3");
        SetAll();

        // Each is found when all before it are gone.
        foreach (string file in files)
        {
            Assert.Equal(file, Search().Path);
            File.Delete(file);
        }

        Assert.False(Search().IsFound);
    }

    [Fact]
    public void The_system_is_asked_by_name_before_the_default_toolkit()
    {
        Put("usr/local/cuda/lib64/libnvrtc.so.13");
        SearchEnvironment environment = Environment() with { Load = name => (name == "libnvrtc.so.11.2" ? 1 : 0, "no") };
        LibrarySearch search = new LibraryFinder(environment).Search(CudaLibrary.Nvrtc);
        Assert.True(search.IsFound);
        Assert.Equal("system", search.Attempts[^1].Place);
    }

    [Fact]
    public void Within_a_place_the_newest_version_wins_whatever_the_folder()
    {
        _variables["MAMBACUDA_LIBRARY_PATH"] = $"{Folder("one")}:{Folder("two")}";
        Put("one/libnvrtc.so.11.2");
        Put("one/libnvrtc.so.12");
        string newest = Put("two/libnvrtc.so.13");
        Assert.Equal(newest, Search().Path);
    }

    [Fact]
    public void Later_versions_of_python_and_toolkit_come_first()
    {
        _variables["VIRTUAL_ENV"] = Folder("venv");
        Put("venv/lib/python3.9/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12");
        string later = Put("venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12");
        Assert.Equal(later, Search().Path);
    }

    [Fact]
    public void A_file_that_cannot_be_loaded_is_reported_and_the_search_goes_on()
    {
        _variables["MAMBACUDA_LIBRARY_PATH"] = Folder("named");
        string broken = Put("named/libnvrtc.so.13");
        string good = Put("named/libnvrtc.so.12");
        _unloadable.Add(broken);
        LibrarySearch search = Search();
        Assert.Equal(good, search.Path);
        Assert.Contains(search.Attempts, attempt => attempt.Path == broken && attempt.Outcome == "could not be loaded: wrong ELF class");
    }

    [Fact]
    public void Companions_are_loaded_before_the_library()
    {
        _variables["MAMBACUDA_LIBRARY_PATH"] = Folder("named");
        string library = Put("named/libnvrtc.so.13");
        string builtins = Put("named/libnvrtc-builtins.so.13.0");
        Search();
        Assert.Equal([builtins, library], _loads);
    }

    [Fact]
    public void Windows_has_its_own_names_and_folders()
    {
        _isWindows = true;
        string[] files =
        [
            Put("cuda/bin/x64/nvrtc64_130_0.dll"),
            Put("cuda/bin/nvrtc64_120_0.dll"),
            Put("venv/Lib/site-packages/nvidia/cu13/bin/x86_64/nvrtc64_130_0.dll"),
            Put("venv/Lib/site-packages/nvidia/cuda_nvrtc/bin/nvrtc64_120_0.dll"),
            Put("python/Lib/site-packages/nvidia/cuda_nvrtc/bin/nvrtc64_120_0.dll"),
            Put("roaming/Python/Python312/site-packages/nvidia/cuda_nvrtc/bin/nvrtc64_112_0.dll"),
            Put("programs/NVIDIA GPU Computing Toolkit/CUDA/v12.4/bin/nvrtc64_120_0.dll"),
        ];
        Put("python/python.exe");
        _variables["CUDA_PATH"] = Folder("cuda");
        _variables["VIRTUAL_ENV"] = Folder("venv");
        _variables["PATH"] = Folder("python");
        foreach (string file in files)
        {
            Assert.Equal(file, Search().Path);
            File.Delete(file);
        }
    }

    [Fact]
    public void The_driver_is_not_looked_for_in_toolkits_and_pip()
    {
        SetAll();
        Put("home-toolkit/lib64/libcuda.so.1");
        Put("venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libcuda.so.1");
        Assert.False(Search(CudaLibrary.Driver).IsFound);
        string wsl = Put("usr/lib/wsl/lib/libcuda.so.1");
        Assert.Equal(wsl, Search(CudaLibrary.Driver).Path);
    }

    [Fact]
    public void A_missing_library_lists_what_was_tried_and_how_to_get_it()
    {
        SetAll();
        Put("app/readme.txt");
        Put("named/libnvrtc.so.12");
        _unloadable.Add(Folder("named/libnvrtc.so.12"));
        _variables.Remove("CUDA_HOME");
        MissingLibraryException exception = Assert.Throws<MissingLibraryException>(() => Search().ThrowIfMissing());
        string[] expected =
        [
            "NVRTC was not found. Get it with the CUDA Toolkit, with 'pip install nvidia-cuda-nvrtc'",
            $"\n  MAMBACUDA_LIBRARY_PATH={Folder("named")}: {Folder("named/libnvrtc.so.12")}: could not be loaded: wrong ELF class",
            $"\n  application folder: {Folder("app")}: no libnvrtc.so.13, libnvrtc.so.12, libnvrtc.so.11.2, libnvrtc.so",
            "\n  CUDA_HOME: not set",
            $"\n  CUDA_PATH={Folder("path-toolkit")}: no folder {Folder("path-toolkit/lib64")}",
            "\n  pip packages of the user: ",
            "\n  Windows Subsystem for Linux: no folder ",
            "\n  system: does not find libnvrtc.so.13, ",
            "\n  CUDA Toolkit's default folder: ",
        ];
        int at = -1;
        foreach (string part in expected)
        {
            int next = exception.Message.IndexOf(part, at + 1, StringComparison.Ordinal);
            Assert.True(next > at, $"Expected next: {part}\nin: {exception.Message}");
            at = next;
        }
    }

    [Fact]
    public void The_system_of_this_machine_tells_why_a_file_cannot_be_loaded()
    {
        _variables["MAMBACUDA_LIBRARY_PATH"] = Folder("named");
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The file names are Linux's.");
        string text = _machine.Write("named/libcuda.so.1", "this is no library");
        SearchEnvironment environment = Environment() with { Load = SearchEnvironment.ThisMachine.Load };
        LibrarySearch search = new LibraryFinder(environment).Search(CudaLibrary.Driver);
        LibraryAttempt attempt = Assert.Single(search.Attempts, attempt => attempt.Path == text);
        Assert.StartsWith($"could not be loaded: {text}: ", attempt.Outcome, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', attempt.Outcome);
    }

    public void Dispose() => _machine.Dispose();

    private string Folder(string name) => Path.Combine(_machine.Path, name);

    private string Put(string name) => _machine.Write(name);

    private void SetAll()
    {
        _variables["MAMBACUDA_LIBRARY_PATH"] = Folder("named");
        _variables["CUDA_HOME"] = Folder("home-toolkit");
        _variables["CUDA_PATH"] = Folder("path-toolkit");
        _variables["VIRTUAL_ENV"] = Folder("venv");
        _variables["CONDA_PREFIX"] = Folder("conda");
        _variables["PATH"] = $"/nowhere:{Folder("opt/python/bin")}";
    }

    private LibrarySearch Search(CudaLibrary? library = null) => new LibraryFinder(Environment()).Search(library ?? CudaLibrary.Nvrtc);

    private SearchEnvironment Environment() => new()
    {
        IsWindows = _isWindows,
        Variable = _variables.GetValueOrDefault,
        ApplicationFolder = Folder("app"),
        RuntimeIdentifier = "linux-x64",
        HomeFolder = Folder("home"),
        RoamingFolder = Folder("roaming"),
        ProgramsFolder = Folder("programs"),
        SystemRoot = _machine.Path,
        Load = path =>
        {
            _loads.Add(path);
            return Path.IsPathRooted(path) && !_unloadable.Contains(path) ? (1, null) : (0, "wrong ELF class");
        },
    };
}
