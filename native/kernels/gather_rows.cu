// gather_rows.cu: chosen rows of a matrix, of any element type.
//
//   destination[i, :] = source[indices[i], :]        source (rows, columns)   indices (chosen)   destination (chosen, columns)
//
// One block a chosen row; threads copy units of 16, 4, 2 or 1 bytes, the largest that addresses and row lengths are multiples of.
// A row number that is not in source is reported (see mamba/faults.cuh) and its row left as it is.
#include "mamba/faults.cuh"
#include "mamba/grid_dependency.cuh"

namespace mamba {

struct GatherRowsParams {
    const void* source;
    const int* indices;
    void* destination;
    Fault* fault;
    long long source_rows;
    long long source_stride;       // in units
    long long destination_stride;  // in units
    int indices_stride;            // in elements
    int units;                     // of a row
};

template <typename Unit>
__global__ void __launch_bounds__(256) gather_rows(const __grid_constant__ GatherRowsParams p)
{
    long long chosen = blockIdx.x;
    wait_for_earlier_grids();
    let_next_grid_start();
    long long row = p.indices[chosen * p.indices_stride];
    if (row < 0 || row >= p.source_rows) {
        report(p.fault, FaultKind::row_number, chosen, row);
        return;
    }
    const Unit* from = static_cast<const Unit*>(p.source) + row * p.source_stride;
    Unit* to = static_cast<Unit*>(p.destination) + chosen * p.destination_stride;
    for (int i = threadIdx.x; i < p.units; i += blockDim.x) {
        to[i] = from[i];
    }
}

}  // namespace mamba
