namespace MambaCuda.Validation;

/// <summary>Chosen rows of a table: what an embedding and a gather give.</summary>
public static class RowOracle
{
    /// <summary>Row <paramref name="rows"/>[i] of the table, for every i.</summary>
    public static T[] Run<T>(T[] table, int columns, int[] rows) =>
        [.. rows.SelectMany(row => new ArraySegment<T>(table, row * columns, columns))];
}
