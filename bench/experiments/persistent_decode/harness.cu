#ifndef __CUDA_ARCH__
__device__ void __mamba_barrier_sync(int, int);
__device__ void __mamba_barrier_arrive(int, int);
__device__ void __mamba_let_others_run();
#endif
#include <cstdio>
#include <cstdlib>
#include <vector>
#include <cmath>
#include <algorithm>
#ifdef TRACE
#include "step_trace.cu"
#else
#include "decode_step.cu"
#endif
using namespace mamba;
#define CK(x) do { cudaError_t e = (x); if (e != cudaSuccess) { printf("%s: %s\n", #x, cudaGetErrorString(e)); exit(1); } } while (0)
__device__ float rnd(unsigned long long i, unsigned int seed) {
    unsigned long long x = i * 0x9E3779B97F4A7C15ull + seed * 0xD1B54A32D192ED03ull; x ^= x >> 32; x *= 0xBF58476D1CE4E5B9ull; x ^= x >> 29; x *= 0x94D049BB133111EBull; x ^= x >> 32;
    return (float)(x & 0xffffff) / 8388608.0f - 1.0f;
}
__global__ void fill16(bf16* p, size_t n, float s, unsigned seed) { for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) p[i] = from_float<bf16>(rnd(i, seed) * s); }
__global__ void fill32(float* p, size_t n, float s, float o, unsigned seed) { for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) p[i] = rnd(i, seed) * s + o; }
static unsigned seed_ = 1;
bf16* w16(size_t n, float s) { bf16* p; CK(cudaMalloc(&p, n * 2 + 256)); fill16<<<1024, 256>>>(p, n, s, seed_++); return p; }
float* w32(size_t n, float s, float o = 0) { float* p; CK(cudaMalloc(&p, n * 4 + 256)); fill32<<<1024, 256>>>(p, n, s, o, seed_++); return p; }
// reference
__global__ void r_linear(const float* x, int xs, const bf16* w, int K, float* y, int ys, int O) { int o = blockIdx.x * 8 + threadIdx.x / 32, r = blockIdx.y; if (o >= O) return; float s = 0; for (int k = threadIdx.x % 32; k < K; k += 32) s += x[(size_t)r * xs + k] * to_float(w[(size_t)o * K + k]); s = warp_sum(s); if (threadIdx.x % 32 == 0) y[(size_t)r * ys + o] = s; }
__global__ void r_norm(const float* x, const float* w, float* y, int d, float eps) { int r = blockIdx.x; __shared__ float sc[32]; float s = 0; for (int i = threadIdx.x; i < d; i += blockDim.x) s += x[(size_t)r * d + i] * x[(size_t)r * d + i]; s = block_sum(s, sc); float k = 1.0f / sqrtf(s / d + eps); for (int i = threadIdx.x; i < d; i += blockDim.x) y[(size_t)r * d + i] = x[(size_t)r * d + i] * k * w[i]; }
__global__ void r_conv(const float* xz, DecodeLayer L, float* u, float* nconv, int E) { int c = blockIdx.x * 256 + threadIdx.x, r = blockIdx.y; if (c >= E) return; float h[4]; for (int k = 0; k < 3; ++k) h[k] = L.conv_state[(size_t)(r * 3 + k) * E + c]; h[3] = xz[(size_t)r * 2 * E + c]; float s = L.conv_bias[c]; for (int k = 0; k < 4; ++k) s += h[k] * L.conv_weight[(size_t)k * E + c]; u[(size_t)r * E + c] = s / (1 + expf(-s)); for (int k = 0; k < 3; ++k) nconv[(size_t)(r * 3 + k) * E + c] = h[k + 1]; }
__global__ void r_scan(const float* xz, const float* u, const float* proj, const float* dt, DecodeLayer L, float* ns, float* y, int E, int R, int N) { int c = blockIdx.x * 256 + threadIdx.x, r = blockIdx.y; if (c >= E) return; float v = dt[(size_t)r * E + c] + L.delta_bias[c]; float delta = v > 20 ? v : log1pf(expf(v)); float uu = u[(size_t)r * E + c]; const float* P = proj + (size_t)r * (R + 2 * N); float acc = 0; for (int n = 0; n < N; ++n) { float s = expf(delta * L.a[(size_t)n * E + c]) * L.state[(size_t)(r * N + n) * E + c] + delta * uu * P[R + n]; ns[(size_t)(r * N + n) * E + c] = s; acc += s * P[R + N + n]; } float z = xz[(size_t)r * 2 * E + E + c]; y[(size_t)r * E + c] = (acc + L.d[c] * uu) * z / (1 + expf(-z)); }
__global__ void r_add(float* x, const float* y, int n) { int i = blockIdx.x * 256 + threadIdx.x; if (i < n) x[i] += y[i]; }
__global__ void r_embed(const bf16* e, const int* t, float* x, int d) { for (int i = threadIdx.x; i < d; i += blockDim.x) x[(size_t)blockIdx.x * d + i] = to_float(e[(size_t)t[blockIdx.x] * d + i]); }
double relerr(const float* a, const float* b, size_t n) { std::vector<float> x(n), y(n); CK(cudaMemcpy(x.data(), a, n * 4, cudaMemcpyDeviceToHost)); CK(cudaMemcpy(y.data(), b, n * 4, cudaMemcpyDeviceToHost)); double s = 0, t = 0; for (size_t i = 0; i < n; ++i) { s += (double)(x[i] - y[i]) * (x[i] - y[i]); t += (double)y[i] * y[i]; } return std::sqrt(s / t); }
template <int kRows, int d, int kOwn, int kStages> void run(int, int L, int rows, bool check) {
    constexpr int E = 2 * d, R = (d + 15) / 16, N = 16, V = 50280, O = R + 2 * N; using Shape = StepShape<kRows, d, E, R, N, kOwn, kStages>;
    std::vector<DecodeLayer> ls(L);
    for (auto& l : ls) {
        l.in_weight = w16((size_t)2 * E * d, 1.7f / sqrtf(d)); l.scan_weight = w16((size_t)O * E, 1.7f / sqrtf(E)); l.delta_weight = w16((size_t)E * R, 1.0f / sqrtf(R)); l.out_weight = w16((size_t)d * E, 1.7f / sqrtf(E));
        l.norm_weight = w32(d, 0.5f, 1); l.conv_weight = w32((size_t)4 * E, 0.8f); l.conv_bias = w32(E, 0.1f); l.delta_bias = w32(E, 1, -2); l.a = w32((size_t)N * E, 4, -5); l.d = w32(E, 0.5f, 1);
        l.conv_state = w32((size_t)rows * 3 * E, 1); l.state = w32((size_t)rows * N * E, 1); l.next_conv_state = w32((size_t)rows * 3 * E, 1); l.next_state = w32((size_t)rows * N * E, 1);
    }
    DecodeStepParams p{};
    DecodeLayer* dl; CK(cudaMalloc(&dl, sizeof(DecodeLayer) * L)); CK(cudaMemcpy(dl, ls.data(), sizeof(DecodeLayer) * L, cudaMemcpyHostToDevice));
    std::vector<int> tok(rows); for (int i = 0; i < rows; ++i) tok[i] = 1000 + 77 * i;
    int* dt; CK(cudaMalloc(&dt, 64)); CK(cudaMemcpy(dt, tok.data(), rows * 4, cudaMemcpyHostToDevice));
    p.layers = dl; p.token_ids = dt; p.embedding = w16((size_t)V * d, 1); p.final_norm_weight = w32(d, 0.5f, 1); p.head = w16((size_t)V * d, 1.7f / sqrtf(d)); p.logits = w32((size_t)rows * V, 0); p.logits_stride = V;
    p.rows = rows; p.layer_count = L; p.vocabulary = V; p.epsilon = 1e-5f; p.sequences = {}; p.sequences.length = 1; p.sequences.count = rows;
    constexpr int blocks = Shape::kBlocks; p.own_words = (V + blocks * 8 - 1) / (blocks * 8) * 8;
    int values = O * kRows;
    auto words = [&](size_t n) { FlaggedWord* q; CK(cudaMalloc(&q, n * 8 + 256)); CK(cudaMemset(q, 0, n * 8 + 256)); return q; };
    p.hidden = words((size_t)8 * d / 2); p.squares = words(8 * blocks); p.shares = words((size_t)blocks * blocks * Shape::kOwnValues); p.projected = words(values * Shape::kCopies); p.inner = words((size_t)8 * E / 2); p.number = (unsigned*)words(1);
    int smem = step_fill(sizeof(StepShared<Shape>), 128) + kStages * kStepStageBytes + L * sizeof(DecodeLayer); if (smem > 227 * 1024) { printf("too much shared %d\n", smem); return; }
    auto* k = decode_step<Shape>;
    CK(cudaFuncSetAttribute(k, cudaFuncAttributeMaxDynamicSharedMemorySize, smem));
    cudaFuncAttributes at; CK(cudaFuncGetAttributes(&at, k));
    cudaStream_t s; CK(cudaStreamCreate(&s));
    CK(cudaDeviceSynchronize());
    k<<<blocks, kStepThreads + kFetchThreads, smem, s>>>(p); CK(cudaDeviceSynchronize());
    if (check) {
        float *x = w32((size_t)rows * d, 0), *h = w32((size_t)rows * d, 0), *xz = w32((size_t)rows * 2 * E, 0), *u = w32((size_t)rows * E, 0), *proj = w32((size_t)rows * O, 0), *dd = w32((size_t)rows * E, 0), *y = w32((size_t)rows * E, 0), *o = w32((size_t)rows * d, 0), *lg = w32((size_t)rows * V, 0), *nc = w32((size_t)rows * 3 * E, 0), *ns = w32((size_t)rows * N * E, 0);
        r_embed<<<rows, 256>>>(p.embedding, dt, x, d);
        for (int l = 0; l < L; ++l) {
            r_norm<<<rows, 256>>>(x, ls[l].norm_weight, h, d, p.epsilon);
            r_linear<<<dim3((2 * E + 7) / 8, rows), 256>>>(h, d, ls[l].in_weight, d, xz, 2 * E, 2 * E);
            r_conv<<<dim3((E + 255) / 256, rows), 256>>>(xz, ls[l], u, nc, E);
            r_linear<<<dim3((O + 7) / 8, rows), 256>>>(u, E, ls[l].scan_weight, E, proj, O, O);
            r_linear<<<dim3((E + 7) / 8, rows), 256>>>(proj, O, ls[l].delta_weight, R, dd, E, E);
            r_scan<<<dim3((E + 255) / 256, rows), 256>>>(xz, u, proj, dd, ls[l], ns, y, E, R, N);
            r_linear<<<dim3((d + 7) / 8, rows), 256>>>(y, E, ls[l].out_weight, E, o, d, d);
            r_add<<<(rows * d + 255) / 256, 256>>>(x, o, rows * d);
            CK(cudaDeviceSynchronize());
            if (l == 0 || l == L - 1) printf("  layer %d: conv state %.2e state %.2e\n", l, relerr(ls[l].next_conv_state, nc, (size_t)rows * 3 * E), relerr(ls[l].next_state, ns, (size_t)rows * N * E));
        }
        r_norm<<<rows, 256>>>(x, p.final_norm_weight, h, d, p.epsilon);
        r_linear<<<dim3((V + 7) / 8, rows), 256>>>(h, d, p.head, d, lg, V, V);
        CK(cudaDeviceSynchronize());
        printf("  logits %.2e\n", relerr(p.logits, lg, (size_t)rows * V));
    }
#ifdef TRACE
    { static long long z[16][160][8]; CK(cudaMemcpyFromSymbol(z, g_trace, sizeof z));
    const char* names[16] = {"in mult", "scale", "states", "sync", "conv", "sync", "-", "shares", "in begun", "projected", "sync", "delta", "scan", "inner wait", "out mult", "out end"};
    for (int i = 0; i < 16; ++i) { printf("   %-12s", names[i]); for (int w = 0; w < 8; ++w) { double sum = 0; for (int b = 0; b < blocks; ++b) sum += z[i][b][w]; printf(" %6.0f", sum / blocks / L); } printf("\n"); } }
#endif
    cudaEvent_t a, b; cudaEventCreate(&a); cudaEventCreate(&b);
    std::vector<float> t;
    for (int i = 0; i < 7; ++i) { cudaEventRecord(a, s); for (int j = 0; j < 10; ++j) k<<<blocks, kStepThreads + kFetchThreads, smem, s>>>(p); cudaEventRecord(b, s); CK(cudaDeviceSynchronize()); float ms; cudaEventElapsedTime(&ms, a, b); t.push_back(ms / 10); }
    std::sort(t.begin(), t.end());
    size_t bytes = (size_t)L * 2 * ((size_t)3 * E * d + (size_t)O * E + (size_t)E * R) + (size_t)2 * V * d;
    printf("d %d rows %d/%d layers %d: %.1f us (%.0f tok/s), %.2f us a layer, %.2f TB/s, regs %d local %zu stages %d blocks %d own %d width %d\n", d, rows, kRows, L, t[3] * 1e3, rows / t[3] * 1e3, t[3] * 1e3 / L, bytes / t[3] / 1e9, at.numRegs, at.localSizeBytes, kStages, blocks, kOwn, Shape::kOwnWidth);
    CK(cudaDeviceReset());
}
int main() {
    setvbuf(stdout, nullptr, _IONBF, 0);
#ifndef TRACE
    run<1, 2560, 40, 16>(0, 3, 1, true);
    run<4, 768, 12, 16>(0, 3, 3, true);
#endif
    run<1, 768, 12, 24>(0, 24, 1, false);
    run<1, 2560, 40, 20>(0, 64, 1, false);
#ifndef TRACE
    run<1, 2048, 32, 20>(0, 48, 1, false);
#endif
}
