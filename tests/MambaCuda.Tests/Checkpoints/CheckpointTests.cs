using MambaCuda.Testing;

namespace MambaCuda.Tests;

/// <summary>Every container of the golden models opens, and holds what a plain reader finds in the hf container.</summary>
public class CheckpointTests
{
    public static TheoryData<string> Containers => [.. Fixtures.ModelContainers()];

    [Theory]
    [MemberData(nameof(Containers))]
    public void Every_container_holds_the_tensors_that_its_configuration_implies(string container)
    {
        Assert.SkipWhen(Fixtures.Root is null, Fixtures.Absent);
        using Checkpoint checkpoint = Checkpoint.Open(Fixtures.PathOf(container));
        Assert.Equal(checkpoint.Config.Tensors().Select(tensor => tensor.Name).Order(), checkpoint.Tensors.Keys.Order());
    }
}
