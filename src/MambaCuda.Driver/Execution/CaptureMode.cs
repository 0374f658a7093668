namespace MambaCuda.Driver;

/// <summary>Which calls spoil a capture because they could wait for the captured stream (CUstreamCaptureMode).</summary>
public enum CaptureMode
{
    /// <summary>Those of every thread.</summary>
    Global = 0,

    /// <summary>Those of the capturing thread.</summary>
    ThreadLocal = 1,

    /// <summary>None.</summary>
    Relaxed = 2,
}
