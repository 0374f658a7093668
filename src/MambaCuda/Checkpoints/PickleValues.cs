using MambaCuda.Kernels;

namespace MambaCuda;

// What a pickle of tensors can hold besides null, bool, long, double and string.

/// <summary>A Python object that the pickle names.</summary>
internal sealed record PickleGlobal(string Module, string Name)
{
    public override string ToString() => $"{Module}.{Name}";
}

/// <summary>A tuple.</summary>
internal sealed record PickleTuple(object?[] Items);

/// <summary>A list, which may hold itself; nothing here walks through one.</summary>
internal sealed record PickleList(List<object?> Items);

/// <summary>A dict or an OrderedDict with strings as keys.</summary>
internal sealed record PickleDictionary(Dictionary<string, object?> Items);

/// <summary>A storage: an entry of the archive that holds <paramref name="Count"/> elements.</summary>
internal sealed record PickleStorage(string Key, DataType Type, long Count);

/// <summary>A view of a storage, as its pickle describes it: not checked yet.</summary>
internal sealed record PickleTensor(PickleStorage Storage, long Offset, long[] Shape, long[] Strides);
