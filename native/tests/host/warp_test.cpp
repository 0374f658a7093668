// warp_test.cpp: operations between lanes, each against what the PTX manual says of it.
#include "host_device.h"

using namespace host_test;

namespace {

const char* const kSource = R"(
template <typename T>
__global__ void shuffles(T* out, int by, int width)
{
    int i = threadIdx.x;
    T mine = T(100 + i);
    T* to = out + 4 * i;
    to[0] = __shfl_sync(0xffffffffu, mine, by, width);
    to[1] = __shfl_up_sync(0xffffffffu, mine, by, width);
    to[2] = __shfl_down_sync(0xffffffffu, mine, by, width);
    to[3] = __shfl_xor_sync(0xffffffffu, mine, by, width);
}

extern "C" __global__ void votes(unsigned* out)
{
    unsigned lane = threadIdx.x % 32;
    unsigned* to = out + 8 * threadIdx.x;
    to[0] = __ballot_sync(0xffffffffu, lane % 3 == 0);
    to[1] = __any_sync(0xffffffffu, lane == 5);
    to[2] = __all_sync(0xffffffffu, lane < 31);
    to[3] = __match_any_sync(0xffffffffu, lane % 4);
    to[4] = __reduce_add_sync(0xffffffffu, lane);
    to[5] = (unsigned)__reduce_min_sync(0xffffffffu, 7 - (int)lane);
    to[6] = __reduce_max_sync(0xffffffffu, lane * 3);
    to[7] = __activemask();
}

// Two halves, each by itself, in different numbers of rounds.
extern "C" __global__ void halves(int* out)
{
    unsigned mask = threadIdx.x < 16 ? 0xffffu : 0xffff0000u;
    int value = threadIdx.x;
    int rounds = threadIdx.x < 16 ? 5 : 2;
    for (int round = 0; round < rounds; ++round) {
        value += __shfl_xor_sync(mask, value, 1);
        __syncwarp(mask);
    }
    out[threadIdx.x] = value;
}

extern "C" __global__ void with_exited(int* out)
{
    if (threadIdx.x >= 20) return;
    out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
}

extern "C" __global__ void not_named() { __syncwarp(threadIdx.x < 16 ? 0xffffu : 0xffffu); }

extern "C" __global__ void different_masks() { __syncwarp(threadIdx.x < 16 ? 0xffffffffu : 0xfffffffeu); }
)";

// shfl.sync's own definition, with the lanes' values 100 + lane.
int expected_shuffle(int kind, int lane, int by, int width)
{
    int first = lane & ~(width - 1);
    int last = first + width - 1;
    int source = kind == 0 ? first + (by & (width - 1)) : kind == 1 ? lane - by : kind == 2 ? lane + by : lane ^ by;
    bool inside = kind == 0 || (kind == 1 ? source >= first : source <= last);
    return 100 + (inside ? source : lane);
}

template <typename T>
void test_shuffles(const Program& program, const std::string& kernel)
{
    for (int width : {1, 2, 4, 8, 16, 32}) {
        for (int by : {0, 1, 2, 3, 5, 16, 31}) {
            Buffer<T> out(std::vector<T>(4 * 64));
            require(launch(program.kernel(kernel), {1, 64}, out.address, by, width), "shuffles");
            std::vector<T> found = out.read();
            for (int i = 0; i < 4 * 64; ++i) {
                int thread = i / 4;
                int wanted = expected_shuffle(i % 4, thread % 32, by, width) + thread / 32 * 32;
                expect(found[static_cast<std::size_t>(i)] == static_cast<T>(wanted),
                       "shuffle " + std::to_string(i % 4) + " by " + std::to_string(by) + " of width " + std::to_string(width));
            }
        }
    }
}

void test_votes(const Program& program)
{
    Buffer<unsigned int> out(std::vector<unsigned int>(8 * 32));
    require(launch(program.kernel("votes"), {1, 32}, out.address), "votes");
    std::vector<unsigned int> found = out.read();
    for (unsigned int lane = 0; lane < 32; ++lane) {
        unsigned int wanted[] = {0x49249249u, 1, 0, 0x11111111u << lane % 4, 496, static_cast<unsigned int>(-24), 93};
        for (unsigned int vote = 0; vote < 7; ++vote) {
            expect(found[8 * lane + vote] == wanted[vote], "vote " + std::to_string(vote) + " of lane " + std::to_string(lane));
        }
        expect((found[8 * lane + 7] >> lane & 1u) != 0, "a lane is in its own active mask");
    }
}

void test_warps_that_are_not_whole(const Program& program, const std::string& kernel)
{
    // The second warp has 8 lanes; the full mask stands for those that are there.
    Buffer<int> out(std::vector<int>(4 * 40));
    require(launch(program.kernel(kernel), {1, 40}, out.address, 4, 32), "shuffles of 40 threads");
    std::vector<int> found = out.read();
    expect(found[4 * 32 + 2] == 136, "down by 4 from a lane that is there");
    expect(found[4 * 39 + 2] == -1, "down by 4 from a lane that is not gives poison");
    expect(found[4 * 39 + 1] == 135, "up by 4");
}

void test_halves(const Program& program)
{
    Buffer<int> out(std::vector<int>(32));
    require(launch(program.kernel("halves"), {1, 32}, out.address), "halves");
    std::vector<int> found = out.read();
    expect(found[0] == 16 && found[1] == 16 && found[2] == (2 + 3) * 16, "five rounds of the lower half");
    expect(found[16] == (16 + 17) * 2 && found[31] == (30 + 31) * 2, "two rounds of the upper half");
}

void test_reports(const Program& program)
{
    Buffer<int> out(std::vector<int>(32));
    expect_error(launch(program.kernel("with_exited"), {1, 32}, out.address), CUDA_ERROR_LAUNCH_FAILED, "threads 20 to 31: ");
    expect_error(launch(program.kernel("not_named"), {1, 32}), CUDA_ERROR_LAUNCH_FAILED, "whose mask does not name it");
    expect_error(launch(program.kernel("different_masks"), {1, 32}), CUDA_ERROR_LAUNCH_FAILED,
                 "threads 0 to 15: wait in __syncwarp with mask 0xffffffff\n  threads 16 to 31: wait in __syncwarp with mask 0xfffffffe");
}

}  // namespace

int main()
{
    start();
    Program program(kSource, {"shuffles<int>", "shuffles<float>", "shuffles<double>", "shuffles<unsigned long long>"});
    test_shuffles<int>(program, program.lowered_names[0]);
    test_shuffles<float>(program, program.lowered_names[1]);
    test_shuffles<double>(program, program.lowered_names[2]);
    test_shuffles<unsigned long long>(program, program.lowered_names[3]);
    test_votes(program);
    test_warps_that_are_not_whole(program, program.lowered_names[0]);
    test_halves(program);
    test_reports(program);
    return finish();
}
