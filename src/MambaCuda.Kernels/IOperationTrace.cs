namespace MambaCuda.Kernels;

/// <summary>
/// Told what is called on a backend, for who wants to know where the time goes: parts (a pass, a layer) that lie in one another, and in them
/// operations. On CUDA <see cref="CudaBackend.OnLaunch"/> tells the kernels of an operation between its begin and its end. What is told is
/// the order of calls: on CUDA the work itself runs behind the host. See <see cref="Backend.Trace"/>.
/// </summary>
public interface IOperationTrace
{
    /// <summary>A part begins.</summary>
    /// <param name="name">What it is, as in "layer".</param>
    /// <param name="number">Which of several, from 0; or -1 where there is but one.</param>
    void BeginPart(string name, int number = -1);

    /// <summary>The part that began last, and has not ended, ends.</summary>
    void EndPart();

    /// <summary>An operation is about to run. An operation may use another, which then lies in it.</summary>
    /// <param name="name">Its method's name, as in "LinearForward".</param>
    /// <param name="work">What it has to move and to compute.</param>
    void BeginOperation(string name, OperationWork work);

    /// <summary>The operation ran, or on CUDA was put into the stream.</summary>
    void EndOperation();
}
