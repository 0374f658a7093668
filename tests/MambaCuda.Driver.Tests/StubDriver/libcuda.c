/* libcuda.c: a driver that drives nothing. It answers as its variables say and prints each call that makes, destroys or launches
 * something, so that versions, errors, ownership and the layout of arguments are tested where there is no GPU.
 *
 *   STUB_VERSION  what cuDriverGetVersion tells (13000 unless set)      STUB_INIT     what cuInit answers (0 unless set)
 *   STUB_DEVICES  how many devices there are (1 unless set)             STUB_MEMORY   bytes that an allocation may have at most
 *
 * Structs are declared as in NVIDIA's cuda.h.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef unsigned long long CUdeviceptr;
typedef void *Handle;

static long long number(const char *name, long long otherwise)
{
    const char *value = getenv(name);
    return value ? atoll(value) : otherwise;
}

/* A line at a time, so that the lines of .NET's own output fall between. */
__attribute__((constructor)) static void buffer_lines(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

static CUresult say(const char *call, unsigned long long handle)
{
    printf("%s %llx\n", call, handle);
    return 0;
}

#define CALL1(name) CUresult name(Handle handle) { return say(#name, (unsigned long long)handle); }

CUresult cuInit(unsigned flags) { (void)flags; return (CUresult)number("STUB_INIT", 0); }
CUresult cuDriverGetVersion(int *version) { *version = (int)number("STUB_VERSION", 13000); return 0; }

CUresult cuGetErrorName(CUresult error, const char **name)
{
    *name = error == 2     ? "CUDA_ERROR_OUT_OF_MEMORY"
            : error == 100 ? "CUDA_ERROR_NO_DEVICE"
            : error == 218 ? "CUDA_ERROR_INVALID_PTX"
                           : NULL;
    return *name ? 0 : 1;
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
    *text = error == 2 ? "out of memory" : error == 218 ? "a PTX JIT compilation failed" : NULL;
    return *text ? 0 : 1;
}

CUresult cuDeviceGetCount(int *count) { *count = (int)number("STUB_DEVICES", 1); return 0; }
CUresult cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
CUresult cuDeviceGetName(char *name, int capacity, int device)
{
    (void)device;
    snprintf(name, (size_t)capacity, "Stub");
    return 0;
}
CUresult cuDeviceGetPCIBusId(char *text, int capacity, int device)
{
    (void)device;
    snprintf(text, (size_t)capacity, "0000:00:00.0");
    return 0;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = 8ull << 30; return 0; }
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) { (void)device; *value = attribute; return 0; }

/* The context that is current on a thread, at most one deep here. */
static __thread Handle current;
CUresult cuDevicePrimaryCtxRetain(Handle *context, int device)
{
    (void)device;
    *context = (Handle)0xc0;
    return say("cuDevicePrimaryCtxRetain", 0xc0);
}
CUresult cuDevicePrimaryCtxRelease_v2(int device)
{
    return say("cuDevicePrimaryCtxRelease_v2", (unsigned long long)device);
}
CUresult cuCtxGetCurrent(Handle *context) { *context = current; return 0; }
CUresult cuCtxPushCurrent_v2(Handle context) { current = context; return 0; }
CUresult cuCtxPopCurrent_v2(Handle *context) { *context = current; current = NULL; return 0; }
CUresult cuCtxGetDevice(int *device) { *device = 0; return current ? 0 : 201; }

static unsigned long long next = 0x1000;
static CUresult take(void *result, size_t bytes, const char *call)
{
    if ((long long)bytes > number("STUB_MEMORY", 1ll << 40))
    {
        return 2;
    }
    unsigned long long address = next += 0x1000;
    memcpy(result, &address, sizeof address);
    return say(call, address);
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total) { *free = 1000; *total = 8ull << 30; return 0; }
CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) { return take(address, bytes, "cuMemAlloc_v2"); }
CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, Handle stream)
{
    (void)stream;
    return take(address, bytes, "cuMemAllocAsync");
}
CUresult cuMemHostAlloc(Handle *address, size_t bytes, unsigned flags)
{
    (void)flags;
    return take(address, bytes, "cuMemHostAlloc");
}
CUresult cuMemHostRegister_v2(Handle address, size_t bytes, unsigned flags)
{
    (void)bytes;
    (void)flags;
    return say("cuMemHostRegister_v2", (unsigned long long)address);
}
CUresult cuMemFreeAsync(CUdeviceptr address, Handle stream)
{
    printf("cuMemFreeAsync %llx on %llx\n", address, (unsigned long long)stream);
    return 0;
}
CALL1(cuMemFree_v2)
CALL1(cuMemFreeHost)
CALL1(cuMemHostUnregister)

CUresult cuStreamCreateWithPriority(Handle *stream, unsigned flags, int priority)
{
    (void)flags;
    (void)priority;
    return take(stream, 0, "cuStreamCreateWithPriority");
}
CUresult cuEventCreate(Handle *event, unsigned flags)
{
    printf("flags %u\n", flags);
    return take(event, 0, "cuEventCreate");
}
CALL1(cuStreamDestroy_v2)
CALL1(cuEventDestroy_v2)

typedef struct
{
    int allocType, handleTypes;
    struct { int type, id; } location;
    void *win32SecurityAttributes;
    size_t maxSize;
    unsigned short usage;
    unsigned char reserved[54];
} CUmemPoolProps;

CUresult cuMemPoolCreate(Handle *pool, const CUmemPoolProps *p)
{
    size_t rest = 0;
    for (size_t i = 0; i < sizeof p->reserved; i++) rest += p->reserved[i];
    printf("pool type %d handles %d location %d/%d max %zu usage %d rest %zu\n",
           p->allocType, p->handleTypes, p->location.type, p->location.id, p->maxSize, p->usage, rest);
    return take(pool, 0, "cuMemPoolCreate");
}
CUresult cuDeviceGetDefaultMemPool(Handle *pool, int device) { (void)device; *pool = (Handle)0xd0; return 0; }
CALL1(cuMemPoolDestroy)

CUresult cuModuleLoadDataEx(Handle *module, const void *image, unsigned count, int *options, void **values)
{
    if (strncmp(image, "broken", 6) == 0)
    {
        for (unsigned i = 0; i + 1 < count; i++)
        {
            if (options[i] == 5 && options[i + 1] == 6) snprintf(values[i], (size_t)values[i + 1], "ptxas fatal   : this is broken");
        }
        return 218;
    }
    return take(module, 0, "cuModuleLoadDataEx");
}
CUresult cuModuleGetFunction(Handle *function, Handle module, const char *name)
{
    (void)module;
    (void)name;
    *function = (Handle)0xf0;
    return 0;
}
CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *bytes, Handle module, const char *name)
{
    (void)module;
    (void)name;
    *address = 0x99;
    *bytes = 12;
    return 0;
}
CALL1(cuModuleUnload)

/* Every kernel takes an int and a double. */
CUresult cuFuncGetParamInfo(Handle function, size_t index, size_t *offset, size_t *bytes)
{
    (void)function;
    *offset = index * 8;
    *bytes = index == 0 ? 4 : 8;
    return index < 2 ? 0 : 1;
}

typedef union
{
    char pad[64];
    int cooperative, priority, programmaticStreamSerializationAllowed;
    struct { unsigned x, y, z; } clusterDim;
} CUlaunchAttributeValue;

typedef struct { int id; char pad[8 - sizeof(int)]; CUlaunchAttributeValue value; } CUlaunchAttribute;

typedef struct
{
    unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
    Handle hStream;
    CUlaunchAttribute *attrs;
    unsigned numAttrs;
} CUlaunchConfig;

CUresult cuLaunchKernelEx(const CUlaunchConfig *c, Handle function, void **parameters, void **extra)
{
    printf("launch %llx grid %u %u %u block %u %u %u shared %u stream %llx extra %d\n", (unsigned long long)function,
           c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX, c->blockDimY, c->blockDimZ, c->sharedMemBytes,
           (unsigned long long)c->hStream, extra != NULL);
    for (unsigned i = 0; i < c->numAttrs; i++)
    {
        const CUlaunchAttribute *a = &c->attrs[i];
        if (a->id == 4) printf("cluster %u %u %u\n", a->value.clusterDim.x, a->value.clusterDim.y, a->value.clusterDim.z);
        else printf("attribute %d %d\n", a->id, a->value.priority);
    }
    printf("arguments %d %g\n", *(int *)parameters[0], *(double *)parameters[1]);
    return 0;
}

CUresult cuStreamBeginCapture_v2(Handle stream, int mode)
{
    printf("cuStreamBeginCapture_v2 %llx mode %d\n", (unsigned long long)stream, mode);
    return 0;
}
CUresult cuStreamEndCapture(Handle stream, Handle *graph) { (void)stream; return take(graph, 0, "cuStreamEndCapture"); }
CUresult cuGraphInstantiateWithFlags(Handle *instance, Handle graph, unsigned long long flags)
{
    (void)graph;
    (void)flags;
    return take(instance, 0, "cuGraphInstantiateWithFlags");
}
typedef struct { int result; Handle errorNode, errorFromNode; } CUgraphExecUpdateResultInfo;
CUresult cuGraphExecUpdate_v2(Handle instance, Handle graph, CUgraphExecUpdateResultInfo *info)
{
    (void)instance;
    (void)graph;
    info->result = 2;
    info->errorNode = info->errorFromNode = (Handle)1;
    return 910;
}
CALL1(cuGraphDestroy)
CALL1(cuGraphExecDestroy)
