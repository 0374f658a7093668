using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>A part of a batch: of every sequence that is long enough, the tokens between two places.</summary>
/// <param name="Tokens">The ids.</param>
/// <param name="Targets">The id that follows each.</param>
/// <param name="Layout">Whose they are; slots are the sequences' numbers in the batch.</param>
internal sealed record BatchSegment(int[] Tokens, int[] Targets, SequenceLayout Layout)
{
    /// <summary>Cuts every sequence of a batch after each so many tokens; the first segment has all sequences, the last the longest.</summary>
    public static IEnumerable<BatchSegment> Of(TokenBatch batch, int tokens)
    {
        for (long start = 0; start < batch.Layout.MaxLength; start += tokens)
        {
            List<int> lengths = [], slots = [], ids = [], targets = [];
            for (int sequence = 0; sequence < batch.Layout.Count; sequence++)
            {
                long first = batch.Layout.Starts[sequence] + start, end = batch.Layout.Starts[sequence + 1];
                if (first < end)
                {
                    int length = (int)Math.Min(tokens, end - first);
                    lengths.Add(length);
                    slots.Add(sequence);
                    ids.AddRange(batch.Tokens.Slice((int)first, length));
                    targets.AddRange(batch.Targets.Slice((int)first, length));
                }
            }

            yield return new BatchSegment([.. ids], [.. targets], SequenceLayout.Packed([.. lengths], [.. slots]));
        }
    }
}
