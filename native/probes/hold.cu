// hold.cu: keeps the device busy without touching memory, so that the host can put work into the stream ahead of it.
//
// A chain of dependent multiply-adds, each about four cycles, so that no clock is needed and the host device can run it too.
extern "C" __global__ void hold(int steps, float *never)
{
    float value = static_cast<float>(steps);
    for (int i = 0; i < steps; i++)
    {
        value = value * 0.5f + 1.0f;
    }

    // It comes near 2, which the compiler cannot know: so it has to count.
    if (value < 0.0f)
    {
        *never = value;
    }
}
