namespace MambaCuda.Validation;

/// <summary>
/// Combinations of settings in which every two settings of any two factors meet at least once. Nearly all faults need no more than two
/// settings to meet, and a product of a dozen factors would not end.
/// </summary>
public static class AllPairs
{
    /// <summary>For factors with these numbers of levels, rows with one level of each. The same rows every time.</summary>
    public static IReadOnlyList<int[]> Rows(params int[] levels)
    {
        HashSet<(int, int, int, int)> open = [];
        for (int first = 0; first < levels.Length; first++)
        {
            for (int second = first + 1; second < levels.Length; second++)
            {
                open.UnionWith(
                    from a in Enumerable.Range(0, levels[first])
                    from b in Enumerable.Range(0, levels[second])
                    select (first, a, second, b));
            }
        }

        List<int[]> rows = [];
        while (open.Count > 0)
        {
            // Start from the first pair that no row has; then give each factor the level that closes most pairs with those chosen before.
            (int first, int a, int second, int b) = open.Min();
            int[] row = new int[levels.Length];
            List<int> chosen = [first, second];
            (row[first], row[second]) = (a, b);
            for (int factor = 0; factor < levels.Length; factor++)
            {
                if (!chosen.Contains(factor))
                {
                    int offset = rows.Count;
                    row[factor] = Enumerable.Range(0, levels[factor])
                        .Select(level => (level + offset) % levels[factor])
                        .MaxBy(level => chosen.Count(other => open.Contains(Pair(factor, level, other, row[other]))));
                    chosen.Add(factor);
                }
            }

            open.ExceptWith(from x in chosen from y in chosen where x < y select (x, row[x], y, row[y]));
            rows.Add(row);
        }

        return rows;
    }

    private static (int, int, int, int) Pair(int factor, int level, int other, int otherLevel) =>
        factor < other ? (factor, level, other, otherLevel) : (other, otherLevel, factor, level);
}
