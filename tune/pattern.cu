// pattern.cu: what memory gives to 128 blocks of three fetching warps, by the shape of a stage: nvcc -arch=sm_90 -O3 -o pattern pattern.cu
//   rows x segment bytes of 8 KB stages from a matrix whose rows have kRowBytes, 80 rows a block, `inFlight` stages a warp.
#include <cstdio>
#include <cstdint>
constexpr int kBlockRows = 80, kBlocks = 128, kWarps = 3;
__device__ __forceinline__ void cp16(uint32_t to, const void* from) { asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from)); }
template <int kRows, int kSegment, int kInFlight, bool kPairs, int kRowBytes>
__global__ void __launch_bounds__(96) run(const unsigned char* all, int matrices, unsigned* out)
{
    extern __shared__ unsigned char ring[];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(ring)) + warp * kInFlight * 8192 * (kPairs ? 2 : 1);
    constexpr int kChunks = kRowBytes / kSegment, kStages = kBlockRows / kRows * kChunks;
    int slot = 0;
    for (int m = 0; m < matrices; ++m) {
        const unsigned char* own = all + (static_cast<size_t>(m) * kBlocks + blockIdx.x) * kBlockRows * kRowBytes;
        if constexpr (!kPairs) {
            for (int s = warp; s < kStages; s += kWarps) {
                const unsigned char* from = own + static_cast<size_t>(s / kChunks) * kRows * kRowBytes + s % kChunks * kSegment;
                uint32_t to = base + slot * 8192;
#pragma unroll
                for (int i = 0; i < 16; ++i) {
                    int byte = i * 512 + lane * 16;
                    cp16(to + byte, from + byte / kSegment * kRowBytes + byte % kSegment);
                }
                asm volatile("cp.async.commit_group;");
                asm volatile("cp.async.wait_group %0;" ::"n"(kInFlight - 1));
                slot = slot + 1 == kInFlight ? 0 : slot + 1;
            }
        } else {
            for (int s = 2 * warp; s < kStages; s += 2 * kWarps) {
                const unsigned char* a = own + static_cast<size_t>(s / kChunks) * kRows * kRowBytes + s % kChunks * kSegment;
                const unsigned char* b = own + static_cast<size_t>((s + 1) / kChunks) * kRows * kRowBytes + (s + 1) % kChunks * kSegment;
                uint32_t to = base + slot * 16384;
#pragma unroll
                for (int i = 0; i < 16; ++i) {
                    int byte = i * 512 + lane * 16, at = byte / kSegment * kRowBytes + byte % kSegment;
                    cp16(to + byte, a + at);
                    cp16(to + 8192 + byte, b + at);
                }
                asm volatile("cp.async.commit_group;");
                asm volatile("cp.async.wait_group %0;" ::"n"(kInFlight - 1));
                slot = slot + 1 == kInFlight ? 0 : slot + 1;
            }
        }
    }
    asm volatile("cp.async.wait_group 0;");
    if (threadIdx.x == 0) out[blockIdx.x] = ring[0];
}
template <int kRows, int kSegment, int kInFlight, bool kPairs, int kRowBytes>
void go(const unsigned char* all, size_t bytes, unsigned* out)
{
    auto f = run<kRows, kSegment, kInFlight, kPairs, kRowBytes>;
    int shared = kWarps * kInFlight * 8192 * (kPairs ? 2 : 1), matrices = bytes / (static_cast<size_t>(kBlocks) * kBlockRows * kRowBytes);
    cudaFuncSetAttribute(f, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    cudaEvent_t a, b; cudaEventCreate(&a); cudaEventCreate(&b); float best = 1e9;
    for (int r = 0; r < 6; ++r) { cudaEventRecord(a); f<<<kBlocks, 96, shared>>>(all, matrices, out); cudaEventRecord(b); cudaEventSynchronize(b);
        float ms; cudaEventElapsedTime(&ms, a, b); if (r && ms < best) best = ms; }
    printf("rows of %d: %2d x %4d%s, %d in flight: %.0f GB/s (%s)\n", kRowBytes, kRows, kSegment, kPairs ? " pairs" : "", kInFlight,
        1e-6 * matrices * kBlocks * kBlockRows * kRowBytes / best, cudaGetErrorString(cudaGetLastError()));
}
template <int kRowBytes> void all_of(const unsigned char* p, size_t n, unsigned* o)
{
    go<16, 512, 2, false, kRowBytes>(p, n, o); go<16, 512, 3, false, kRowBytes>(p, n, o); go<16, 512, 4, false, kRowBytes>(p, n, o);
    go<8, 1024, 2, false, kRowBytes>(p, n, o); go<8, 1024, 3, false, kRowBytes>(p, n, o);
    go<4, 2048, 2, false, kRowBytes == 5120 ? 6144 : kRowBytes>(p, n, o);
    go<16, 512, 1, true, kRowBytes>(p, n, o); go<16, 512, 2, true, kRowBytes>(p, n, o); go<8, 1024, 1, true, kRowBytes>(p, n, o);
}
int main()
{
    unsigned char* p; unsigned* o; size_t n = size_t(4) << 30; cudaMalloc(&p, n); cudaMemset(p, 1, n); cudaMalloc(&o, 4096);
    all_of<5120>(p, n, o); all_of<10240>(p, n, o); all_of<8192>(p, n, o);
    go<1, 8192, 2, false, 8192>(p, n, o); go<1, 8192, 3, false, 8192>(p, n, o); go<1, 8192, 1, true, 8192>(p, n, o);
}
