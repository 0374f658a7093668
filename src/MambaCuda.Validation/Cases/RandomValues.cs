namespace MambaCuda.Validation;

/// <summary>Random operands that are the same in every run, on every machine: a case's name is its seed.</summary>
public sealed class RandomValues
{
    private readonly Random _random;

    /// <summary>Starts from a name.</summary>
    public RandomValues(string name)
    {
        // string.GetHashCode differs from run to run; this is FNV-1a.
        uint hash = name.Aggregate(2166136261u, (hash, letter) => (hash ^ letter) * 16777619u);
        _random = new Random((int)(hash & int.MaxValue));
    }

    /// <summary>Normally distributed values.</summary>
    public float[] Normal(int count, float mean = 0, float deviation = 1)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble()));
            values[i] = (float)(mean + (deviation * radius * Math.Cos(2 * Math.PI * _random.NextDouble())));
        }

        return values;
    }

    /// <summary>Values spread evenly over [low, high).</summary>
    public float[] Uniform(int count, float low, float high)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = (float)(low + ((high - low) * _random.NextDouble()));
        }

        return values;
    }

    /// <summary>Numbers from 0 to limit - 1.</summary>
    public int[] Integers(int count, int limit)
    {
        int[] values = new int[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = _random.Next(limit);
        }

        return values;
    }
}
