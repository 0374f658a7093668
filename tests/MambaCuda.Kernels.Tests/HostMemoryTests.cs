namespace MambaCuda.Kernels.Tests;

/// <summary>Host memory and the cpu backend's buffers on it.</summary>
public unsafe class HostMemoryTests
{
    [Theory, InlineData(0), InlineData(1), InlineData(63), InlineData(64), InlineData(1_000_003)]
    public void Is_aligned_and_zero(long length)
    {
        using NativeHostMemory memory = new(length);
        Assert.Equal(length, memory.ByteLength);
        Assert.Equal(0, (long)memory.Pointer % 64);
        Assert.True(memory.Span(0, (int)length).IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public void A_negative_length_is_refused() => Assert.Throws<ArgumentOutOfRangeException>(() => new NativeHostMemory(-1));

    [Fact]
    public void What_the_system_has_not_is_said_in_bytes()
    {
        using CpuBackend backend = new(threads: 1);
        foreach (long length in new[] { 1L << 60, long.MaxValue })
        {
            OutOfMemoryException exception = Assert.ThrowsAny<OutOfMemoryException>(() => backend.Allocate(length));
            Assert.Contains($"{length:N0} bytes", exception.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(-1, 1), InlineData(0, -1), InlineData(0, 101), InlineData(100, 1), InlineData(101, 0), InlineData(1, 100)]
    [InlineData(long.MaxValue, 1), InlineData(1, long.MaxValue), InlineData(long.MinValue, 1)]
    public void A_part_outside_is_refused(long offset, long length)
    {
        using NativeHostMemory memory = new(100);
        Assert.Throws<ArgumentOutOfRangeException>(() => memory.CheckRange(offset, length));
        using CpuBackend backend = new(threads: 1);
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.Import(memory, offset, length));
        if (length is >= int.MinValue and <= int.MaxValue)
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => memory.Span(offset, (int)length).Length);
        }
    }

    [Theory, InlineData(0, 100), InlineData(100, 0), InlineData(99, 1)]
    public void A_part_inside_is_given(long offset, int length)
    {
        using NativeHostMemory memory = new(100);
        Assert.Equal(length, memory.Span(offset, length).Length);
    }

    [Fact]
    public void Nothing_is_read_after_dispose()
    {
        NativeHostMemory memory = new(100);
        memory.Dispose();
        memory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => memory.Span(0, 1).Length);
        Assert.Throws<ObjectDisposedException>(() => (nint)memory.Pointer);
    }

    [Fact]
    public void An_imported_buffer_reads_the_memory_in_place_and_does_not_own_it()
    {
        using NativeHostMemory memory = new(64);
        ((float*)memory.Pointer)[3] = 42;
        using CpuBackend backend = new(threads: 1);
        float[] value = new float[1];
        using (DeviceBuffer buffer = backend.Import(memory, 8, 16))
        {
            backend.Download(buffer.Matrix(DataType.Float32, 1, 1, byteOffset: 4), value.AsSpan());
        }

        Assert.Equal(42, value[0]);
        Assert.Equal(42, ((float*)memory.Pointer)[3]);
    }

    [Fact]
    public void An_imported_buffer_ends_with_its_memory()
    {
        NativeHostMemory memory = new(64);
        using CpuBackend backend = new(threads: 1);
        using DeviceBuffer buffer = backend.Import(memory, 0, 64);
        memory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => backend.Download(buffer.Matrix(DataType.Float32, 1, 1), new float[1].AsSpan()));
    }
}
