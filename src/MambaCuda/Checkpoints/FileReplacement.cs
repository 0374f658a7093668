using System.Security.Cryptography;

namespace MambaCuda;

/// <summary>
/// Replaces files of a folder together or not at all. New files are written under temporary names beside the old ones, brought to
/// the disk, and take their names in <see cref="Commit"/>; until then, and where that fails, the old ones are as they were.
/// A process that dies inside <see cref="Commit"/> leaves each file whole, old or new, but perhaps some of each; where just one
/// file changes, as when a training run saves again, not even that can happen.
/// </summary>
internal sealed class FileReplacement : IDisposable
{
    private readonly string _directory;
    private readonly string _suffix = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6));
    private readonly bool _createdDirectory;
    private readonly List<string> _staged = [];
    private readonly List<string> _removed = [];
    private bool _committed;

    /// <summary>Prepares to replace files of a folder, which is created where it is absent.</summary>
    public FileReplacement(string directory)
    {
        _directory = directory;
        _createdDirectory = !Directory.Exists(directory);
        Directory.CreateDirectory(directory);
    }

    /// <summary>Writes a new file under a temporary name.</summary>
    /// <param name="name">The name that it will take.</param>
    /// <param name="length">How long it will be, so that a full disk is noticed at once.</param>
    /// <param name="write">Writes it.</param>
    public void Stage(string name, long length, Action<FileStream> write)
    {
        _staged.Add(name);
        FileStreamOptions options = new()
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            Share = FileShare.None,
            BufferSize = 1 << 16,
            PreallocationSize = length,
        };
        using FileStream stream = new(TemporaryPath(name), options);
        write(stream);
        stream.Flush(flushToDisk: true);
    }

    /// <summary>A file that is gone after <see cref="Commit"/>, where it exists and is not staged.</summary>
    public void Remove(string name) => _removed.Add(name);

    /// <summary>Gives the staged files their names.</summary>
    public void Commit()
    {
        string[] changed = [.. _staged.Where(name => !SameContent(FinalPath(name), TemporaryPath(name)))];
        string[] superseded = [.. _removed.Except(_staged).Where(name => File.Exists(FinalPath(name)))];
        if (changed.Length == 1 && superseded.Length == 0)
        {
            File.Move(TemporaryPath(changed[0]), FinalPath(changed[0]), overwrite: true);
        }
        else
        {
            Exchange(changed, superseded);
        }

        _committed = true;
    }

    /// <summary>Deletes what is left of files that did not take their names.</summary>
    public void Dispose()
    {
        foreach (string name in _staged)
        {
            File.Delete(TemporaryPath(name));
        }

        if (!_committed && _createdDirectory && !Directory.EnumerateFileSystemEntries(_directory).Any())
        {
            Directory.Delete(_directory);
        }
    }

    /// <summary>Moves the old files aside, the new ones in, and only then deletes the old ones; in case of failure all goes back.</summary>
    private void Exchange(string[] changed, string[] superseded)
    {
        Stack<(string From, string To)> done = [];
        List<string> aside = [];
        try
        {
            foreach (string name in changed.Concat(superseded).Where(name => File.Exists(FinalPath(name))))
            {
                Move(FinalPath(name), AsidePath(name));
                aside.Add(AsidePath(name));
            }

            foreach (string name in changed)
            {
                Move(TemporaryPath(name), FinalPath(name));
            }
        }
        catch
        {
            while (done.TryPop(out (string From, string To) move))
            {
                File.Move(move.To, move.From);
            }

            throw;
        }

        aside.ForEach(File.Delete);

        void Move(string from, string to)
        {
            File.Move(from, to);
            done.Push((from, to));
        }
    }

    /// <summary>Whether a small file would be replaced by its like; large ones are never compared.</summary>
    private static bool SameContent(string path, string other)
    {
        const int Small = 1 << 20;
        FileInfo existing = new(path);
        return existing.Exists && existing.Length <= Small && existing.Length == new FileInfo(other).Length
            && File.ReadAllBytes(path).AsSpan().SequenceEqual(File.ReadAllBytes(other));
    }

    private string FinalPath(string name) => Path.Combine(_directory, name);

    private string TemporaryPath(string name) => Path.Combine(_directory, $".{name}.{_suffix}.new");

    private string AsidePath(string name) => Path.Combine(_directory, $".{name}.{_suffix}.old");
}
