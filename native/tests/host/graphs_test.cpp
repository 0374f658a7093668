// graphs_test.cpp: what is captured runs when the graph does, as often as it does.
#include "host_device.h"

using namespace host_test;

namespace {

const char* const kSource = R"(
extern "C" __global__ void add(int* x, int value) { *x = *x * 2 + value; }
)";

CUstream new_stream()
{
    CUstream stream;
    require(cuStreamCreateWithPriority(&stream, 1, 0), "cuStreamCreateWithPriority");
    return stream;
}

Launch on(CUstream stream)
{
    Launch how{1, 1};
    how.stream = stream;
    return how;
}

void test_replay_and_update(CUfunction add)
{
    CUstream stream = new_stream();
    Buffer<int> x({5});
    auto capture = [&](int value, bool copies) {
        CUgraph graph;
        require(cuStreamBeginCapture_v2(stream, 1), "cuStreamBeginCapture_v2");
        require(cuMemsetD32Async(x.address, 1, 1, stream), "cuMemsetD32Async");
        require(launch(add, on(stream), x.address, value), "add");
        int unused;
        require(copies ? cuMemcpyDtoHAsync_v2(&unused, x.address, 4, stream) : launch(add, on(stream), x.address, value), "last node");
        require(cuStreamEndCapture(stream, &graph), "cuStreamEndCapture");
        return graph;
    };
    CUgraph first = capture(10, false);
    CUgraph second = capture(20, false);
    CUgraph other = capture(20, true);
    std::size_t nodes = 0;
    require(cuGraphGetNodes(first, nullptr, &nodes), "cuGraphGetNodes");
    expect(nodes == 3, "three nodes");
    expect(x.read()[0] == 5, "nothing runs while it is captured");

    CUgraphExec instance;
    require(cuGraphInstantiateWithFlags(&instance, first, 0), "cuGraphInstantiateWithFlags");
    require(cuGraphDestroy(first), "cuGraphDestroy");
    require(cuGraphLaunch(instance, stream), "cuGraphLaunch");
    expect(x.read()[0] == 34, "(1 * 2 + 10) * 2 + 10");
    struct {
        int outcome;
        void* nodes[2];
    } result;
    require(cuGraphExecUpdate_v2(instance, second, &result), "cuGraphExecUpdate_v2");
    require(cuGraphLaunch(instance, stream), "cuGraphLaunch");
    expect(x.read()[0] == 64, "(1 * 2 + 20) * 2 + 20");
    expect(cuGraphExecUpdate_v2(instance, other, &result) == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, "another kind of node");
    expect(result.outcome == 3, "the reason why it is not updated");
    require(cuGraphDestroy(second), "cuGraphDestroy");
    require(cuGraphDestroy(other), "cuGraphDestroy");
    require(cuGraphExecDestroy(instance), "cuGraphExecDestroy");
    require(cuStreamDestroy_v2(stream), "cuStreamDestroy_v2");
}

void test_two_streams(CUfunction add)
{
    CUstream one = new_stream();
    CUstream two = new_stream();
    CUevent event;
    require(cuEventCreate(&event, 2), "cuEventCreate");
    Buffer<int> x({0});
    CUgraph graph;
    for (bool joins : {true, false}) {
        require(cuStreamBeginCapture_v2(one, 1), "cuStreamBeginCapture_v2");
        require(cuEventRecord(event, one), "cuEventRecord");
        require(cuStreamWaitEvent(two, event, 0), "cuStreamWaitEvent");
        require(launch(add, on(two), x.address, 3), "add");
        if (joins) {
            require(cuEventRecord(event, two), "cuEventRecord");
            require(cuStreamWaitEvent(one, event, 0), "cuStreamWaitEvent");
        }
        CUresult wanted = joins ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
        expect(cuStreamEndCapture(one, &graph) == wanted, "another stream, joined or not");
        if (joins) {
            require(cuGraphDestroy(graph), "cuGraphDestroy");
        }
    }
    expect(x.read()[0] == 0, "nothing ran");
    require(launch(add, on(two), x.address, 3), "add");
    expect(x.read()[0] == 3, "the stream runs again");
    require(cuEventDestroy_v2(event), "cuEventDestroy_v2");
    require(cuStreamDestroy_v2(one), "cuStreamDestroy_v2");
    require(cuStreamDestroy_v2(two), "cuStreamDestroy_v2");
}

void test_what_spoils_a_capture()
{
    CUstream stream = new_stream();
    CUgraph graph;
    CUdeviceptr memory;
    require(cuStreamBeginCapture_v2(stream, 1), "cuStreamBeginCapture_v2");
    expect(cuStreamSynchronize(stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "waiting for a captured stream");
    expect(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED && graph == nullptr, "a spoiled capture");
    require(cuStreamBeginCapture_v2(stream, 1), "cuStreamBeginCapture_v2");
    expect(cuMemAlloc_v2(&memory, 100) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "allocating while capturing");
    expect(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "a spoiled capture");
    require(cuStreamDestroy_v2(stream), "cuStreamDestroy_v2");
}

}  // namespace

int main()
{
    start();
    Program program(kSource);
    CUfunction add = program.kernel("add");
    test_replay_and_update(add);
    test_two_streams(add);
    test_what_spoils_a_capture();
    return finish();
}
