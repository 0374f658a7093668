using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// The Python objects that a pickle of tensors needs, and what stands for calling them. No other object exists for
/// <see cref="Unpickler"/>: a pickle that asks for one is refused by its name, and nothing is ever executed.
/// </summary>
internal static class PickleGlobals
{
    private static readonly Dictionary<string, DataType> Storages = new()
    {
        ["torch.FloatStorage"] = DataType.Float32,
        ["torch.BFloat16Storage"] = DataType.BFloat16,
        ["torch.HalfStorage"] = DataType.Float16,
        ["torch.DoubleStorage"] = DataType.Float64,
        ["torch.LongStorage"] = DataType.Int64,
        ["torch.IntStorage"] = DataType.Int32,
        ["torch.ShortStorage"] = DataType.Int16,
        ["torch.CharStorage"] = DataType.Int8,
        ["torch.ByteStorage"] = DataType.UInt8,
        ["torch.BoolStorage"] = DataType.Boolean,
    };

    private static readonly Dictionary<string, Func<object?[], object?>> Calls = new()
    {
        ["collections.OrderedDict"] = arguments => arguments is [] ? new PickleDictionary([]) : null,
        ["torch._utils._rebuild_tensor_v2"] = RebuildTensor,
        ["torch._utils._rebuild_parameter"] = arguments =>
            arguments is [PickleTensor tensor, bool, PickleDictionary { Items.Count: 0 }] ? tensor : null,
    };

    public static bool IsKnown(PickleGlobal global) => Storages.ContainsKey(global.ToString()) || Calls.ContainsKey(global.ToString());

    /// <summary>The result of calling an object, or null where the arguments are not those that torch.save writes.</summary>
    public static object? Call(PickleGlobal global, object?[] arguments) =>
        Calls.TryGetValue(global.ToString(), out Func<object?[], object?>? call) ? call(arguments) : null;

    /// <summary>The storage that a persistent id stands for, or null where it is not one that torch.save writes.</summary>
    public static PickleStorage? Storage(object? id) =>
        id is PickleTuple { Items: ["storage", PickleGlobal global, string key, string or null, long count] } && count >= 0
        && Storages.TryGetValue(global.ToString(), out DataType type)
            ? new PickleStorage(key, type, count)
            : null;

    /// <summary>(storage, offset, size, stride, requires_grad, backward_hooks[, metadata]).</summary>
    private static PickleTensor? RebuildTensor(object?[] arguments)
    {
        if (arguments is not
            [PickleStorage storage, long offset, PickleTuple size, PickleTuple stride, bool, PickleDictionary { Items.Count: 0 }, ..]
            || arguments.Length > 7 || (arguments.Length == 7 && arguments[6] is not (null or PickleDictionary { Items.Count: 0 }))
            || !size.Items.All(item => item is long) || !stride.Items.All(item => item is long))
        {
            return null;
        }

        return new PickleTensor(storage, offset, [.. size.Items.Cast<long>()], [.. stride.Items.Cast<long>()]);
    }
}
