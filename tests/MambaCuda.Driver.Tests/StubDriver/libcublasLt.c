/* libcublasLt.c: a cuBLASLt that multiplies nothing. It prints each call that makes, describes, chooses, runs or destroys something.
 *
 *   STUB_CUBLAS         what cublasLtCreate answers (0 unless set)
 *   STUB_CUBLAS_CHOICE  what the heuristic answers (0 unless set); -1 for success with nothing found
 *
 * Types are declared as in NVIDIA's cublasLt.h.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int cublasStatus_t;
typedef void *Handle;

typedef struct {
    uint64_t data[8];
} cublasLtMatmulAlgo_t;

typedef struct {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
    int reserved[4];
} cublasLtMatmulHeuristicResult_t;

static int made;

static int number(const char *name)
{
    const char *value = getenv(name);
    return value ? atoi(value) : 0;
}

/* A line at a time, so that the lines of .NET's own output fall between. */
__attribute__((constructor)) static void buffer_lines(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

static cublasStatus_t make(Handle *handle, const char *what)
{
    *handle = (Handle)(uintptr_t)++made;
    printf("make %s %d", what, made);
    return 0;
}

#define DESTROY(name) cublasStatus_t name(Handle handle) { printf(#name " %d\n", (int)(uintptr_t)handle); return 0; }

DESTROY(cublasLtDestroy)
DESTROY(cublasLtMatmulDescDestroy)
DESTROY(cublasLtMatrixLayoutDestroy)
DESTROY(cublasLtMatmulPreferenceDestroy)

size_t cublasLtGetVersion(void) { return 130100; }

cublasStatus_t cublasLtCreate(Handle *handle)
{
    cublasStatus_t status = number("STUB_CUBLAS");
    if (status == 0) {
        make(handle, "library");
        printf("\n");
    }
    return status;
}

cublasStatus_t cublasLtMatmulDescCreate(Handle *handle, int compute, int scale)
{
    make(handle, "product");
    printf(" compute %d scale %d\n", compute, scale);
    return 0;
}

cublasStatus_t cublasLtMatrixLayoutCreate(Handle *handle, int type, uint64_t rows, uint64_t columns, int64_t leading)
{
    make(handle, "matrix");
    printf(" type %d %llu x %llu leading %lld\n", type, (unsigned long long)rows, (unsigned long long)columns, (long long)leading);
    return 0;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(Handle *handle)
{
    make(handle, "preference");
    printf("\n");
    return 0;
}

static cublasStatus_t set(const char *what, int attribute, const void *value, size_t bytes)
{
    uint64_t wide = 0;
    memcpy(&wide, value, bytes);
    printf("%s %d is %llu of %d bytes\n", what, attribute, (unsigned long long)wide, (int)bytes);
    return 0;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(Handle handle, int attribute, const void *value, size_t bytes)
{
    (void)handle;
    return set("product", attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(Handle handle, int attribute, const void *value, size_t bytes)
{
    (void)handle;
    return set("preference", attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(Handle library, Handle product, Handle a, Handle b, Handle c, Handle d, Handle preference,
    int wanted, cublasLtMatmulHeuristicResult_t results[], int *found)
{
    printf("choose %d %d a %d b %d c %d d %d preference %d wanted %d\n", (int)(uintptr_t)library, (int)(uintptr_t)product, (int)(uintptr_t)a,
        (int)(uintptr_t)b, (int)(uintptr_t)c, (int)(uintptr_t)d, (int)(uintptr_t)preference, wanted);
    int answer = number("STUB_CUBLAS_CHOICE");
    *found = answer == 0;
    for (int i = 0; i < 8; ++i) {
        results[0].algo.data[i] = 100 + (uint64_t)i;
    }
    results[0].workspaceSize = 4096;
    results[0].state = 0;
    results[0].wavesCount = 1;
    return answer < 0 ? 0 : answer;
}

cublasStatus_t cublasLtMatmul(Handle library, Handle product, const void *alpha, const void *a, Handle a_layout, const void *b,
    Handle b_layout, const void *beta, const void *c, Handle c_layout, void *d, Handle d_layout, const cublasLtMatmulAlgo_t *algo,
    void *workspace, size_t workspace_bytes, Handle stream)
{
    printf("run %d %d alpha %g a %p/%d b %p/%d beta %g c %p/%d d %p/%d algorithm %llu..%llu workspace %p of %d stream %p\n",
        (int)(uintptr_t)library, (int)(uintptr_t)product, *(const float *)alpha, a, (int)(uintptr_t)a_layout, b, (int)(uintptr_t)b_layout,
        *(const float *)beta, c, (int)(uintptr_t)c_layout, d, (int)(uintptr_t)d_layout, (unsigned long long)algo->data[0],
        (unsigned long long)algo->data[7], workspace, (int)workspace_bytes, stream);
    return a == (void *)0xbad ? 13 : 0;
}
