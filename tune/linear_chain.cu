// What a layer over few rows takes, layer after layer in a graph, weights from memory:
//   nvcc -gencode arch=compute_90a,code=sm_90a -O3 -std=c++17 -I native/include -o /tmp/chain tune/linear_chain.cu && /tmp/chain      (15 s in all; -arch=sm_90a does not do)
#ifndef __CUDA_ARCH_FEAT_SM90_ALL
#define __CUDA_ARCH_FEAT_SM90_ALL 1
#endif
inline __device__ __host__ void __mamba_let_others_run() {}
#ifndef __CUDA_ARCH__
namespace mamba { inline __device__ unsigned int shared_address(const void*) { return 0; } }
#endif

#include <cstdio>
#include <cstdlib>
#include <vector>
#include <cuda_runtime.h>
#include "../native/kernels/linear_forward.cu"
using namespace mamba;
static char* weights; static void* x; static void* y; static size_t total = size_t(3) << 30;
template <typename F> void go(const char* name, F f, int tileOutputs, int threads, int shared, int splits, int rows, int tileRows, int inputs, int outputs)
{
    auto e = cudaFuncSetAttribute(f, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (e) { printf("%s: %s\n", name, cudaGetErrorString(e)); cudaGetLastError(); return; }
    cudaFuncSetAttribute(f, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    cudaFuncAttributes at; cudaFuncGetAttributes(&at, f);
    size_t each = size_t(inputs) * outputs * 2; int layers = total / each;
    cudaStream_t st; cudaStreamCreate(&st);
    cudaGraph_t g; cudaGraphExec_t ge;
    cudaStreamBeginCapture(st, cudaStreamCaptureModeThreadLocal);
    for (int l = 0; l < layers; ++l) {
        LinearForwardParams p{}; p.x = x; p.weight = weights + l * each; p.y = y; p.rows = rows; p.x_stride = inputs; p.weight_stride = inputs; p.y_stride = outputs; p.inputs = inputs; p.outputs = outputs; p.splits = splits; p.band = 1;
        cudaLaunchConfig_t c{}; c.gridDim = dim3((outputs + tileOutputs - 1) / tileOutputs * splits, (rows + tileRows - 1) / tileRows); c.blockDim = threads; c.dynamicSmemBytes = shared; c.stream = st;
        cudaLaunchAttribute a[2]; a[0].id = cudaLaunchAttributeProgrammaticStreamSerialization; a[0].val.programmaticStreamSerializationAllowed = 1; a[1].id = cudaLaunchAttributeClusterDimension; a[1].val.clusterDim.x = splits; a[1].val.clusterDim.y = 1; a[1].val.clusterDim.z = 1;
        c.attrs = a; c.numAttrs = splits > 1 ? 2 : 1;
        e = cudaLaunchKernelEx(&c, f, p);
        if (e) { printf("%s: launch %s\n", name, cudaGetErrorString(e)); break; }
    }
    cudaStreamEndCapture(st, &g); cudaGraphInstantiate(&ge, g, 0);
    cudaEvent_t b0, b1; cudaEventCreate(&b0); cudaEventCreate(&b1); float best = 1e9;
    for (int r = 0; r < 6; ++r) { cudaEventRecord(b0, st); cudaGraphLaunch(ge, st); cudaEventRecord(b1, st); cudaEventSynchronize(b1); float ms; cudaEventElapsedTime(&ms, b0, b1); if (r && ms < best) best = ms; }
    printf("%d x %d x %d  %-22s / %d: %.2f us, %.0f GB/s, %d regs, %d local (%s)\n", rows, inputs, outputs, name, splits, best * 1e3 / layers, each * 1e-6 * layers / best, at.numRegs, (int)at.localSizeBytes, cudaGetErrorString(cudaGetLastError()));
    cudaGraphExecDestroy(ge); cudaGraphDestroy(g);
}
#define OLDK(R, N, S, splits, rows, in, out) go("old " #R "x" #N " " #S, linear_forward_rows<bf16, bf16, R, N, S>, N, 2 * R, (R + N) * 128 * S, splits, rows, R, in, out)
int main()
{
    cudaMalloc(&weights, total); cudaMemset(weights, 0, total); cudaMalloc(&x, 128 * 8192 * 2); cudaMemset(x, 0, 128 * 8192 * 2); cudaMalloc(&y, 128 * 60000 * 2);
    
    OLDK(64,64,7,1,64,2560,10240);
    OLDK(64,64,12,1,64,2560,10240);
    OLDK(64,128,8,1,64,2560,10240);
    OLDK(64,64,7,5,64,5120,2560);
    OLDK(64,64,7,4,64,5120,2560);
    OLDK(64,64,7,1,64,768,3072);
    OLDK(64,64,12,1,64,768,3072);
    OLDK(64,128,8,1,64,768,3072);
    OLDK(64,64,7,5,64,1536,768);
    OLDK(64,64,7,4,64,1536,768);
    return 0;
}
