// graphs.cpp: captured work, run again in the order in which it was captured.
#include "modules.h"
#include "streams.h"

using namespace mamba_host;

namespace {

constexpr int kUpdateSuccess = 0;
constexpr int kUpdateTopologyChanged = 2;
constexpr int kUpdateNodeTypeChanged = 3;

struct UpdateResult {
    int outcome;
    void* error_node;
    void* error_from_node;
};

int compare_forms(const Graph& instance, const Graph& graph)
{
    if (instance.nodes.size() != graph.nodes.size()) {
        return kUpdateTopologyChanged;
    }
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
        if (instance.nodes[i].kind != graph.nodes[i].kind) {
            return kUpdateNodeTypeChanged;
        }
    }
    return kUpdateSuccess;
}

}  // namespace

extern "C" {

CUresult cuGraphDestroy(CUgraph graph)
{
    delete graph;
    return CUDA_SUCCESS;
}

CUresult cuGraphGetNodes(CUgraph graph, void** nodes, std::size_t* count)
{
    for (std::size_t i = 0; nodes != nullptr && i < *count; ++i) {
        nodes[i] = i < graph->nodes.size() ? &graph->nodes[i] : nullptr;
    }
    *count = graph->nodes.size();
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* instance, CUgraph graph, unsigned long long)
{
    *instance = new Graph(*graph);
    return CUDA_SUCCESS;
}

CUresult cuGraphExecUpdate_v2(CUgraphExec instance, CUgraph graph, UpdateResult* result)
{
    *result = {compare_forms(*instance, *graph), nullptr, nullptr};
    if (result->outcome != kUpdateSuccess) {
        return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    }
    *instance = *graph;
    return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec, CUstream) { return CUDA_SUCCESS; }

CUresult cuGraphLaunch(CUgraphExec instance, CUstream stream)
{
    for (const Work& node : instance->nodes) {
        if (CUresult result = submit(stream, node); result != CUDA_SUCCESS) {
            return result;
        }
    }
    return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec instance)
{
    delete instance;
    return CUDA_SUCCESS;
}

}  // extern "C"
