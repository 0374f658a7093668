# Run in the repository: puts clock reads into the step in one kernel, printed with -DCYC_STAMP for the steps whose number is about 3,510.
# FixedBytes of DecodeStep.Cuda.cs needs 1.5 KB more then (+ 512 -> + 2048). st.py reads what `bench decode` prints.
files={f:open(f).read() for f in ('native/kernels/decode_step.cu','native/include/mamba/step_shape.cuh','native/include/mamba/step_streams.cuh')}
def rep(a,b,n=1):
    where=[f for f in files if a in files[f]]
    assert len(where)==1,(a,where)
    files[where[0]]=files[where[0]].replace(a,b,n)
m='''#ifdef CYC_STAMP
#define STAMP(k) { unsigned int now_ = cycles_now(); if (threadIdx.x % 32 == 0) shared.stamps[threadIdx.x / 32][k] += now_ - last_; last_ = now_; }
#define STAMPS unsigned int last_ = cycles_now();
#define STAMP_PRINT(name, n) if (lane == 0 && (block % 60 == 0) && number > 3500 && number < 3580) { for (int k_ = 0; k_ < n; ++k_) printf("S %s b%d w%d %d %u %u\\n", name, block, warp, k_, shared.stamps[warp][k_], number); }
#else
#define STAMP(k)
#define STAMPS
#define STAMP_PRINT(name, n)
#endif

'''
rep('// What all blocks read is there so often',m+'// What all blocks read is there so often')
rep('''#pragma unroll 1
    for (int l = 0; l < p.layer_count; ++l) {
        const DecodeStepLayerParams& layer = layers[l];

        // x of''','''    STAMPS
#pragma unroll 1
    for (int l = 0; l < p.layer_count; ++l) {
        const DecodeStepLayerParams& layer = layers[l];

        // x of''')
rep('''hidden, number, p.rows);
        reader.template multiply<Shape::kWidth>(0, Shape::kXRows, shared.in_sums[warp]);
''','''hidden, number, p.rows);
        STAMP(0)
        reader.template multiply<Shape::kWidth>(0, Shape::kXRows, shared.in_sums[warp]);
        STAMP(1)
''')
rep('''        shared.scaled.wait(l & 1);
        step_sync();
''','''        STAMP(3)
        shared.scaled.wait(l & 1);
        STAMP(4)
        step_sync();
        STAMP(5)
''')
rep('''        unsigned int given = cycles_now();
''','''        STAMP(6)
        unsigned int given = cycles_now();
''')
rep('''        // The values that this block adds up.
''','''        STAMP(7)
''')
rep('''        unsigned int added = block''','''        STAMP(8)
        unsigned int added = block''')
rep('''        // What the scan needs beside (low, B, C).
''','''        STAMP(9)
''')
rep('''        if constexpr (Shape::kXRows < 2 * kOwn) {
            step_sync();
        }
''','''        STAMP(10)
        if constexpr (Shape::kXRows < 2 * kOwn) {
            step_sync();
        }
        STAMP(11)
''')
rep('''            shared.projected_there.wait(l & 1);
''','''            shared.projected_there.wait(l & 1);
            STAMP(12)
''')
rep('''        // The block's part of the residual stream.
        {
''','''        // The block's part of the residual stream.
        STAMP(13)
        {
''')
rep('''inner, number, p.rows);
            reader.template multiply<Shape::kChannels>(0, own_width, shared.out_sums[warp]);
            step_sync();
''','''inner, number, p.rows);
            STAMP(14)
            reader.template multiply<Shape::kChannels>(0, own_width, shared.out_sums[warp]);
            STAMP(15)
            step_sync();
''')
rep('''            give_hidden(norm_weight);
        }
    }
''','''            give_hidden(norm_weight);
            STAMP(16)
        }
    }
''')
rep('''    // Whoever gets here knows that all blocks have read it.
''','''    STAMP(17)
    STAMP_PRINT("compute", 18)
''')
rep('''        unsigned int number = *p.number;
        const FlaggedWord* from = p.squares''','''        unsigned int number = *p.number;
        STAMPS
        const FlaggedWord* from = p.squares''')
rep('''            let_cycles_pass(cycles_now(), Shape::Pauses::kSquares);
            wait_for_words(place_of, number, squares);
''','''            STAMP(0)
            let_cycles_pass(cycles_now(), Shape::Pauses::kSquares);
            wait_for_words(place_of, number, squares);
            STAMP(1)
''')
rep('''                stream.fetch(layers[l + 1], l + 1);
            }
        }
        return;''','''                shared.layer_emptied.wait(((l + 1) & 1) ^ 1u);
                STAMP(2)
                stream.fetch(layers[l + 1], l + 1);
                STAMP(3)
            }
        }
        STAMP_PRINT("listen", 4)
        return;''')
rep('''    int turn;  // stages until this warp's next one
''','''    int turn;  // stages until this warp's next one
#ifdef CYC_STAMP
    unsigned int last_ = 0;
#endif
''')
rep('''        ++in_flight;
        shared.emptied[place.stage].wait(place.parity ^ 1u);
''','''        ++in_flight;
        STAMP(0)
        shared.emptied[place.stage].wait(place.parity ^ 1u);
        STAMP(1)
''')
rep('''        shared.filled[place.stage].arrive_after_copies();
        place.next''','''        shared.filled[place.stage].arrive_after_copies();
        STAMP(2)
        place.next''')
rep('''        let_next_grid_start();
        return;''','''        let_next_grid_start();
#ifdef CYC_STAMP
        { unsigned int number = *p.number; STAMP_PRINT("fetch", 3) }
#endif
        return;''')

a="    float out_sums[kStepWarps][Shape::kRows][Shape::kOutProducts * kStepOutputs];\n"
rep(a,a+"#ifdef CYC_STAMP\n    unsigned int stamps[12][20];\n#endif\n")
a="    for (int i = thread; i < static_cast<int>(sizeof(shared.projected) / 2)"
rep(a,"#ifdef CYC_STAMP\n    for (int i = thread; i < 240; i += kStepBlockThreads) (&shared.stamps[0][0])[i] = 0;\n#endif\n"+a)
for f in files: open(f,'w').write(files[f])
