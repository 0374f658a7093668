using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int MostCaptures = 5;

    /// <inheritdoc/>
    public override bool CanCapture => true;

    /// <inheritdoc/>
    /// <exception cref="CudaException">An operation waits or allocates, or the driver refuses the graph. Nothing has run.</exception>
    public override CapturedOperations Capture(Action operations)
    {
        for (int left = MostCaptures - 1; ; left--)
        {
            try
            {
                using CudaGraph graph = Stream.Capture(operations);
                return new Captured(this, graph.Instantiate(), graph.NodeCount);
            }
            catch (CudaException exception) when (exception.Error == CudaError.StreamCaptureInvalidated && left > 0)
            {
                // Another thread called what waits for the whole context, as unloading a module does. Nothing has run: once more.
            }
        }
    }

    private sealed class Captured(CudaBackend backend, CudaGraphInstance instance, int nodeCount) : CapturedOperations
    {
        // Scratch and tables grow by allocating; the graph has their addresses.
        private readonly int _allocations = backend.AllocationCount;

        public override bool IsCurrent => _allocations == backend.AllocationCount;

        public override void Run()
        {
            if (!IsCurrent)
            {
                throw new InvalidOperationException(
                    "The backend has allocated memory since the operations were captured: capture them again.");
            }

            instance.Launch(backend.Stream);
        }

        public override string ToString() => $"{nodeCount} captured operations";

        protected override void Dispose(bool disposing) => instance.Dispose();
    }
}
