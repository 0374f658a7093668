namespace MambaCuda.Kernels;

/// <summary>The checks that operations share; each message names the operation, the operands and their shapes.</summary>
internal static class Check
{
    /// <summary>A number that must be: left out, it would be zero and do harm in silence.</summary>
    public static void Positive(string operation, string name, double value)
    {
        if (!(value > 0))
        {
            throw new ArgumentOutOfRangeException(name, value, $"{operation}: {name} must be positive.");
        }
    }

    public static void Given(string operation, string name, in MatrixView view)
    {
        if (view.IsNone)
        {
            ShapeException.Throw(operation, $"{name} is missing");
        }
    }

    public static void None(string operation, string name, in MatrixView view)
    {
        if (!view.IsNone)
        {
            ShapeException.Throw(operation, $"{name} is {view}, but is not used here and must be left out");
        }
    }

    public static void Type(string operation, string name, in MatrixView view, DataType type)
    {
        if (!view.IsNone && view.Type != type)
        {
            ShapeException.Throw(operation, $"{name} is {view}, but must be {type}");
        }
    }

    public static void WeightType(string operation, string name, in MatrixView view)
    {
        if (!view.IsNone && !view.Type.IsWeightType())
        {
            ShapeException.Throw(operation, $"{name} is {view}, but weights are Float32, BFloat16 or Float16");
        }
    }

    /// <summary>The weight is given, of a type that weights have, and has this shape.</summary>
    public static void Weight(string operation, string name, in WeightView weight, long rows, int columns)
    {
        if (weight.IsNone)
        {
            ShapeException.Throw(operation, $"{name} is missing");
        }

        if (weight.Rows != rows || weight.Columns != columns)
        {
            ShapeException.Throw(operation, $"{name} is {weight}, but must be ({rows} x {columns})");
        }

        WeightType(operation, name, weight.Matrix);
    }

    /// <summary>The view, where it is given, has this shape.</summary>
    public static void Shape(string operation, string name, in MatrixView view, long rows, long columns)
    {
        if (!view.IsNone && (view.Rows != rows || view.Columns != columns))
        {
            ShapeException.Throw(operation, $"{name} is {view}, but must be ({rows} x {columns})");
        }
    }

    /// <summary>The view, where it is given, has at least this many rows, and just this many columns.</summary>
    public static void AtLeast(string operation, string name, in MatrixView view, long rows, long columns)
    {
        if (!view.IsNone && (view.Rows < rows || view.Columns != columns))
        {
            ShapeException.Throw(operation, $"{name} is {view}, but must be ({rows} or more x {columns})");
        }
    }

    /// <summary>The view, where it is given, has the shape and type of another, which must be given then.</summary>
    public static void Like(string operation, string name, in MatrixView view, string otherName, in MatrixView other)
    {
        if (!view.IsNone)
        {
            Same(operation, name, view, otherName, other);
        }
    }

    public static void Contiguous(string operation, string name, in MatrixView view)
    {
        if (!view.IsNone && !view.IsContiguous)
        {
            ShapeException.Throw(operation, $"{name} is {view} with row stride {view.RowStride}, but must have no gaps");
        }
    }

    public static void Same(string operation, string name, in MatrixView view, string otherName, in MatrixView other)
    {
        Given(operation, name, view);
        Given(operation, otherName, other);
        if (view.Rows != other.Rows || view.Columns != other.Columns || view.Type != other.Type)
        {
            ShapeException.Throw(operation, $"{name} is {view} and {otherName} is {other}; they must be the same");
        }
    }

    public static void Layout(string operation, SequenceLayout? sequences, long tokens)
    {
        if (sequences is null)
        {
            ShapeException.Throw(operation, "the sequence layout is missing");
        }

        if (sequences.TotalLength != tokens)
        {
            ShapeException.Throw(operation, $"the sequence layout covers {sequences.TotalLength} tokens, but there are {tokens}");
        }
    }

    public static void OneTokenEach(string operation, SequenceLayout sequences)
    {
        if (sequences.MaxLength != 1)
        {
            ShapeException.Throw(operation, $"a sequence has {sequences.MaxLength} tokens, but a one-token update takes one");
        }
    }

    /// <summary>Two views do not start at one place, for an operation that reads the one after it wrote the other.</summary>
    public static void Apart(string operation, string name, in MatrixView view, string otherName, in MatrixView other)
    {
        if (view.Buffer == other.Buffer && view.ByteOffset == other.ByteOffset && view.Rows > 0)
        {
            ShapeException.Throw(operation, $"{name} and {otherName} are the same memory, but cannot be");
        }
    }
}
