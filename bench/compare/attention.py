#!/usr/bin/env python3
"""Times PyTorch's scaled_dot_product_attention by its flash and cuDNN backends on the shapes of `mamba-cuda bench --suite attention`."""

import rivals

LENGTHS = [512, 1024, 2048, 4096, 8192, 32768, 131072]
FORWARD = [(1, 16, 64, length) for length in LENGTHS] + [(8, 32, 64, 2048), (8, 32, 64, 8192), (8, 16, 128, 2048), (8, 16, 128, 8192)]
BACKWARD = [(8, 32, 64, 2048), (8, 32, 64, 8192), (8, 16, 128, 2048), (8, 16, 128, 8192)]
DECODE = [(1, 32, 64, 2048), (1, 32, 64, 32768), (64, 32, 64, 2048), (64, 16, 128, 2048), (8, 16, 128, 32768)]


def main():
    options = rivals.arguments(__doc__, "attention").parse_args()
    session = rivals.Session(options, "attention")
    torch = session.torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backends = {"pytorch flash": SDPBackend.FLASH_ATTENTION, "pytorch cudnn": SDPBackend.CUDNN_ATTENTION}
    size = torch.empty((), dtype=session.dtype).element_size()

    def attend(backend, q, k, v, causal=True):
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    # In PyTorch's own layout: batch, heads, length, head size.
    for variant, backend in backends.items():
        for batch, heads, head_size, length in FORWARD:
            elements = batch * heads * head_size * length

            def forward(_copy):
                q, k, v = (session.random(batch, heads, length, head_size).requires_grad_() for _ in range(3))
                return lambda: attend(backend, q, k, v)

            session.measure(
                "attention", (batch, heads, head_size, length), variant, forward,
                bytes_moved=4 * elements * size + 4 * batch * heads * length, operations=2.0 * elements * length, elements=elements)
        for batch, heads, head_size, length in BACKWARD:
            elements = batch * heads * head_size * length

            def backward(_copy):
                q, k, v = (session.random(batch, heads, length, head_size).requires_grad_() for _ in range(3))
                y, grad_y = attend(backend, q, k, v), session.random(batch, heads, length, head_size)
                return lambda: torch.autograd.grad(y, (q, k, v), grad_y, retain_graph=True)

            session.measure(
                "attention-backward", (batch, heads, head_size, length), variant, backward,
                bytes_moved=8 * elements * size + 4 * batch * heads * length, operations=5.0 * elements * length, elements=elements)
        for batch, heads, head_size, length in DECODE:
            elements = batch * heads * head_size

            def decode(_copy):
                q = session.random(batch, heads, 1, head_size)
                k, v = (session.random(batch, heads, length, head_size) for _ in range(2))

                def run():
                    with torch.no_grad():
                        attend(backend, q, k, v, causal=False)

                return run

            # The cache is read; appending the new token is not among what is timed.
            session.measure(
                "attention-decode", (batch, heads, head_size, length), variant, decode,
                bytes_moved=elements * size * (2 * length + 4), operations=4.0 * elements * length, elements=elements)

    cudnn = torch.backends.cudnn.version()
    session.finish({"PyTorch": torch.__version__, "cuDNN": cudnn})


if __name__ == "__main__":
    main()
