using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace MambaCuda;

/// <summary>
/// The cached prompts of one model in a folder. Each is a file named by the model and the prompt; when it was last written or used is its time
/// of writing. Files that are damaged are deleted, those that another program has deleted are no longer there: a cache may lose.
/// </summary>
internal sealed class PromptFolder
{
    private const string Extension = ".prompt";
    private readonly string _folder;
    private readonly string _prefix;
    private readonly long _maxBytes;
    private readonly Dictionary<string, int[]> _tokens = [];

    public PromptFolder(MambaModel model, string folder, long maxBytes)
    {
        _folder = Path.GetFullPath(folder);
        _maxBytes = maxBytes;
        _prefix = Convert.ToHexStringLower(model.Fingerprint[..8]);
        Directory.CreateDirectory(_folder);
        foreach (string path in Files())
        {
            if (PromptFile.ReadTokens(path, model.Config.VocabularySize) is { } tokens)
            {
                _tokens[path] = tokens;
            }
            else
            {
                File.Delete(path);
            }
        }
    }

    /// <summary>The longest prompt that tokens begin with and that is longer than <paramref name="than"/>, or null.</summary>
    public string? LongestStartOf(ReadOnlySpan<int> tokens, int than)
    {
        string? longest = null;
        foreach ((string path, int[] start) in _tokens)
        {
            if (start.Length > than && tokens.StartsWith(start))
            {
                (longest, than) = (path, start.Length);
            }
        }

        return longest;
    }

    /// <summary>Reads a prompt into a state of one slot; null where it is gone or damaged, and is then forgotten.</summary>
    public CachedPrompt? Read(string path, MambaState state)
    {
        try
        {
            if (PromptFile.Read(path, state) is { } read)
            {
                File.SetLastWriteTimeUtc(path, DateTime.UtcNow);
                return new CachedPrompt(read.Tokens, state, read.Logits) { IsOnDisk = true };
            }

            File.Delete(path);
        }
        catch (FileNotFoundException)
        {
            // Another program has made room.
        }

        _tokens.Remove(path);
        return null;
    }

    /// <summary>Writes a prompt, and deletes those that were used the longest ago until there is room.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The same.</exception>
    public void Write(CachedPrompt prompt)
    {
        byte[] hash = SHA256.HashData(MemoryMarshal.AsBytes(prompt.Tokens.AsSpan()));
        string path = Path.Combine(_folder, $"{_prefix}-{Convert.ToHexStringLower(hash.AsSpan(0, 16))}{Extension}");
        PromptFile.Write(path, prompt);
        _tokens[path] = prompt.Tokens;
        prompt.IsOnDisk = true;
        long bytes = 0;
        foreach (FileInfo file in Files().Select(file => new FileInfo(file)).OrderByDescending(file => file.LastWriteTimeUtc))
        {
            bytes += file.Length;
            if (bytes > _maxBytes)
            {
                file.Delete();
                _tokens.Remove(file.FullName);
            }
        }
    }

    private string[] Files() => Directory.GetFiles(_folder, $"{_prefix}-*{Extension}");
}
