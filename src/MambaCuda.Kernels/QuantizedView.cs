namespace MambaCuda.Kernels;

/// <summary>
/// A quantized weight in <see cref="DeviceBuffer"/>s, (outputs, inputs): its rows as <see cref="QuantizedLayout"/> describes them. The
/// default value means "none".
/// </summary>
public readonly struct QuantizedView
{
    /// <summary>Puts the parts together.</summary>
    /// <param name="values">The numbers, (outputs, <see cref="QuantizedLayout.RowBytes"/>), <see cref="QuantizedLayout.StoredType"/>.</param>
    /// <param name="scales">The scales, (outputs, <see cref="QuantizedLayout.Groups"/>), BFloat16.</param>
    /// <param name="layout">How a row is stored.</param>
    /// <exception cref="ShapeException">A shape or type is another; the message names it.</exception>
    public QuantizedView(MatrixView values, MatrixView scales, QuantizedLayout layout)
    {
        const string Operation = nameof(QuantizedView);
        Check.Given(Operation, "values", values);
        Check.Given(Operation, "scales", scales);
        Check.Shape(Operation, "values", values, values.Rows, layout.RowBytes);
        Check.Type(Operation, "values", values, layout.StoredType);
        Check.Shape(Operation, "scales", scales, values.Rows, layout.Groups);
        Check.Type(Operation, "scales", scales, DataType.BFloat16);
        Values = values;
        Scales = scales;
        Layout = layout;
    }

    /// <summary>The numbers, (outputs, bytes of a row).</summary>
    public MatrixView Values { get; }

    /// <summary>The scales, (outputs, groups), BFloat16.</summary>
    public MatrixView Scales { get; }

    /// <summary>How a row is stored.</summary>
    public QuantizedLayout Layout { get; }

    /// <summary>The outputs.</summary>
    public long Rows => Values.Rows;

    /// <summary>The inputs.</summary>
    public int Columns => Layout.Columns;

    /// <summary>Whether this is "none".</summary>
    public bool IsNone => Values.IsNone;

    /// <summary>Rows [start, start + count).</summary>
    /// <exception cref="ShapeException">They are not all there.</exception>
    public QuantizedView RowRange(long start, long count) => new(Values.RowRange(start, count), Scales.RowRange(start, count), Layout);

    /// <summary>Shape and type, for messages.</summary>
    public override string ToString() => IsNone ? "none" : $"({Rows} x {Columns}) {Layout.Type} in groups of {Layout.GroupSize}";
}
