using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;

namespace MambaCuda;

/// <summary>
/// Reads a pickle that torch.save wrote. A pickle is a program for a stack machine that may call any Python function;
/// this machine knows the instructions that build dictionaries of tensors, the objects in <see cref="PickleGlobals"/>, and nothing else.
/// It does not recurse, and its work is bounded: every instruction makes at most one value.
/// </summary>
internal ref struct Unpickler
{
    /// <summary>Fifty times what the largest published model needs.</summary>
    public const int MostInstructions = 1_000_000;

    /// <summary>A hundred times what the largest published model needs.</summary>
    public const int LongestPickle = 1 << 24;

    private const int LowestProtocol = 2;
    private const int HighestProtocol = 5;

    private readonly string _path;
    private readonly ReadOnlySpan<byte> _pickle;
    private readonly List<object?> _stack = [];
    private readonly List<int> _marks = [];
    private readonly Dictionary<long, object?> _memo = [];
    private int _at;

    private Unpickler(string path, ReadOnlySpan<byte> pickle)
    {
        _path = path;
        _pickle = pickle;
    }

    /// <summary>Reads a pickle; the value that it leaves.</summary>
    /// <exception cref="CheckpointException">It is damaged, or does something that building tensors does not need.</exception>
    public static object? Read(string path, ReadOnlySpan<byte> pickle)
    {
        Unpickler unpickler = new(path, pickle);
        if (pickle.Length > LongestPickle)
        {
            throw unpickler.Refused($"has {pickle.Length} bytes, but a pickle of tensors has at most {LongestPickle}");
        }

        return unpickler.Run();
    }

    private object? Run()
    {
        if (_pickle.Length < 2 || _pickle[0] != 0x80 || _pickle[1] is < LowestProtocol or > HighestProtocol)
        {
            throw Refused($"does not begin like a pickle of protocol {LowestProtocol} to {HighestProtocol}");
        }

        _at = 2;
        for (int i = 0; i < MostInstructions; i++)
        {
            byte instruction = Take(1)[0];
            if (instruction == '.')
            {
                return Stop();
            }

            Execute(instruction);
        }

        throw Refused($"has more than {MostInstructions} instructions");
    }

    private object? Stop()
    {
        if (_at != _pickle.Length || _stack.Count != 1 || _marks.Count != 0)
        {
            throw Refused("does not end with one value");
        }

        return _stack[0];
    }

    private void Execute(byte instruction)
    {
        switch ((char)instruction)
        {
            case 'N': Push(null); break;
            case '\x88': Push(true); break;
            case '\x89': Push(false); break;
            case 'K': Push((long)Take(1)[0]); break;
            case 'M': Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Take(2))); break;
            case 'J': Push((long)BinaryPrimitives.ReadInt32LittleEndian(Take(4))); break;
            case '\x8a': Push(SignedInteger(Take(Take(1)[0]))); break;
            case 'G': Push(BinaryPrimitives.ReadDoubleBigEndian(Take(8))); break;
            case 'X': Push(Text(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)))); break;
            case '\x8c': Push(Text(Take(1)[0])); break;
            case 'U': Push(Text(Take(1)[0])); break;
            case 'T': Push(Text(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)))); break;
            case '(': _marks.Add(_stack.Count); break;
            case ')': Push(new PickleTuple([])); break;
            case '\x85': Push(new PickleTuple(Pop(1))); break;
            case '\x86': Push(new PickleTuple(Pop(2))); break;
            case '\x87': Push(new PickleTuple(Pop(3))); break;
            case 't': Push(new PickleTuple(PopToMark())); break;
            case ']': Push(new PickleList([])); break;
            case '}': Push(new PickleDictionary([])); break;
            case 'a': Append(Pop(1)); break;
            case 'e': Append(PopToMark()); break;
            case 's': Set(Pop(2)); break;
            case 'u': Set(PopToMark()); break;
            case 'q': _memo[Take(1)[0]] = Top(); break;
            case 'r': _memo[BinaryPrimitives.ReadUInt32LittleEndian(Take(4))] = Top(); break;
            case '\x94': _memo[_memo.Count] = Top(); break;
            case 'h': Push(Remembered(Take(1)[0])); break;
            case 'j': Push(Remembered(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)))); break;
            case 'c': PushGlobal(Line(), Line()); break;
            case '\x93': PushNamedGlobal(Pop(2)); break;
            case 'Q': PushStorage(Pop(1)[0]); break;
            case 'R': Call(Pop(2)); break;
            case 'b': Build(Pop(1)[0]); break;

            // The length of a frame serves readers of streams.
            case '\x95': Take(8); break;
            default: throw Refused($"uses the instruction 0x{instruction:x2} at {_at - 1}, which a pickle of tensors does not need");
        }
    }

    private readonly void Push(object? value) => _stack.Add(value);

    private readonly object?[] Pop(int count)
    {
        int floor = _marks.Count > 0 ? _marks[^1] : 0;
        if (_stack.Count - count < floor)
        {
            throw Refused($"takes a value that is not there, at {_at - 1}");
        }

        object?[] values = [.. _stack.GetRange(_stack.Count - count, count)];
        _stack.RemoveRange(_stack.Count - count, count);
        return values;
    }

    private readonly object?[] PopToMark()
    {
        if (_marks.Count == 0)
        {
            throw Refused($"takes values from a mark that is not there, at {_at - 1}");
        }

        object?[] values = Pop(_stack.Count - _marks[^1]);
        _marks.RemoveAt(_marks.Count - 1);
        return values;
    }

    private readonly object? Top()
    {
        int floor = _marks.Count > 0 ? _marks[^1] : 0;
        return _stack.Count > floor ? _stack[^1] : throw Refused($"uses a value that is not there, at {_at - 1}");
    }

    private readonly object? Remembered(long index) =>
        _memo.TryGetValue(index, out object? value) ? value : throw Refused($"recalls value {index}, which it did not store");

    private readonly void Append(object?[] values)
    {
        if (Top() is not PickleList list)
        {
            throw Refused($"appends to something that is not a list, at {_at - 1}");
        }

        list.Items.AddRange(values);
    }

    private readonly void Set(object?[] pairs)
    {
        if (Top() is not PickleDictionary dictionary || pairs.Length % 2 != 0)
        {
            throw Refused($"sets items of something that is not a dictionary, at {_at - 1}");
        }

        for (int i = 0; i < pairs.Length; i += 2)
        {
            if (pairs[i] is not string key)
            {
                throw Refused("has a dictionary whose keys are not all strings");
            }

            if (!dictionary.Items.TryAdd(key, pairs[i + 1]))
            {
                throw Refused($"names {key.Quoted()} twice in one dictionary");
            }
        }
    }

    private readonly void PushNamedGlobal(object?[] names)
    {
        if (names is not [string module, string name])
        {
            throw Refused($"names a Python object by something other than strings, at {_at - 1}");
        }

        PushGlobal(module, name);
    }

    private readonly void PushGlobal(string module, string name)
    {
        PickleGlobal global = new(module, name);
        if (!PickleGlobals.IsKnown(global))
        {
            throw new CheckpointException(
                _path,
                $"its pickle asks for the Python object {global.ToString().Quoted()}, which tensors do not need; nothing was executed",
                "If you trust the file, load it in PyTorch and save its state_dict alone, best as safetensors");
        }

        Push(global);
    }

    private readonly void PushStorage(object? id) =>
        Push(PickleGlobals.Storage(id) ?? throw Refused($"refers to something that is not a storage of a known type, at {_at - 1}"));

    private readonly void Call(object?[] call)
    {
        if (call is not [PickleGlobal global, PickleTuple arguments])
        {
            throw Refused($"calls something that is not a function, at {_at - 1}");
        }

        Push(PickleGlobals.Call(global, arguments.Items) ?? throw Refused($"calls {global} with arguments that torch.save does not write"));
    }

    /// <summary>A state_dict carries version numbers of its modules as an attribute; no other attribute is known.</summary>
    private readonly void Build(object? state)
    {
        if (Top() is not PickleDictionary || state is not PickleDictionary { Items: { Count: 1 } attributes }
            || !attributes.ContainsKey("_metadata"))
        {
            throw Refused($"sets attributes that a state_dict does not have, at {_at - 1}");
        }
    }

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count > _pickle.Length - _at)
        {
            throw Refused("is cut off");
        }

        ReadOnlySpan<byte> bytes = _pickle.Slice(_at, count);
        _at += count;
        return bytes;
    }

    private string Text(uint length)
    {
        if (length > _pickle.Length - _at)
        {
            throw Refused("is cut off");
        }

        return Decode(Take((int)length));
    }

    /// <summary>The text up to the end of the line.</summary>
    private string Line()
    {
        int length = _pickle[_at..].IndexOf((byte)'\n');
        if (length < 0)
        {
            throw Refused("is cut off");
        }

        string line = Decode(Take(length));
        _at++;
        return line;
    }

    private readonly string Decode(ReadOnlySpan<byte> bytes) => Utf8.IsValid(bytes)
        ? Encoding.UTF8.GetString(bytes)
        : throw Refused($"has a string that is not UTF-8, before {_at}");

    private readonly long SignedInteger(ReadOnlySpan<byte> littleEndian)
    {
        if (littleEndian.Length > 8)
        {
            throw Refused("has a number of more than 64 bits");
        }

        long value = 0;
        for (int i = 0; i < littleEndian.Length; i++)
        {
            value |= (long)littleEndian[i] << (8 * i);
        }

        int unused = 64 - (8 * littleEndian.Length);
        return unused is 0 or 64 ? value : value << unused >> unused;
    }

    private readonly CheckpointException Refused(string problem) =>
        new(_path, $"its pickle (data.pkl) {problem}", "Save the state_dict again with torch.save, or better as safetensors");
}
