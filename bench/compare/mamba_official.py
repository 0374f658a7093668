#!/usr/bin/env python3
"""Times the official kernels (state-spaces/mamba, causal-conv1d) and models on the shapes of `mamba-cuda bench`.

What is not installed is left out, and said.
"""

import importlib

import rivals

STATES = 16
SCAN = [(8, 2048, 2048), (16, 5120, 2048), (1, 1536, 2048), (1, 2048, 16384), (1, 2048, 131072), (1, 1536, 1048576)]
SCAN += [(1, 5120, 2048), (8, 1536, 2048), (8, 2048, 16384)]
SCAN += [(1, 1024, length) for length in (512, 1024, 2048, 4096, 8192, 32768, 131072, 524288)]
SCAN_BACKWARD = [(8, 2048, 2048), (16, 5120, 2048), (1, 1536, 2048), (1, 2048, 131072)]
CONV = [(8, 2048, 2048), (1, 2048, 16384), (16, 5120, 2048)]
CONV_BACKWARD = [(8, 2048, 2048)]
MODELS = {"130m": (768, 24), "370m": (1024, 48), "790m": (1536, 48), "1.4b": (2048, 48), "2.8b": (2560, 64)}
PREFILL = [("130m", 8, 2048), ("130m", 1, 2048), ("130m", 1, 32768), ("1.4b", 8, 2048), ("1.4b", 1, 2048), ("2.8b", 8, 2048), ("2.8b", 1, 2048)]
DECODE = [("130m", 1), ("130m", 64), ("1.4b", 1), ("1.4b", 64), ("2.8b", 1), ("2.8b", 64)]


def imported(module, package):
    """A module, or None with a word of why not."""
    try:
        return importlib.import_module(module)
    except Exception as exception:  # a wheel for another PyTorch fails in many ways
        print(f"{package} is left out, {module} cannot be imported: {type(exception).__name__}: {exception}")
        return None


def scans(session):
    scan = imported("mamba_ssm.ops.selective_scan_interface", "mamba-ssm")
    if scan is None:
        return
    torch = session.torch
    size = torch.empty((), dtype=session.dtype).element_size()

    def operands(batch, channels, length, grad):
        made = {
            "u": session.random(batch, channels, length),
            "delta": session.random(batch, channels, length, deviation=0.5),
            "A": -torch.arange(1, STATES + 1, device="cuda", dtype=torch.float32).repeat(channels, 1),
            "B": session.random(batch, 1, STATES, length),
            "C": session.random(batch, 1, STATES, length),
            "D": session.random(channels, dtype=torch.float32),
            "z": session.random(batch, channels, length),
            "delta_bias": session.random(channels, dtype=torch.float32, mean=-4.6, deviation=1.2),
        }
        return {name: value.requires_grad_(grad) for name, value in made.items()}

    def flops(elements):
        return elements * (7.0 * STATES + 11)

    for batch, channels, length in SCAN:
        elements = batch * channels * length

        def forward(_copy):
            args = operands(batch, channels, length, grad=False)

            def run():
                with torch.no_grad():
                    scan.selective_scan_fn(**args, delta_softplus=True)

            return run

        session.measure(
            "scan", (batch, channels, length), "mamba_ssm", forward,
            bytes_moved=(4 * elements + 2 * batch * length * STATES) * size, operations=flops(elements), elements=elements)
    for batch, channels, length in SCAN_BACKWARD:
        elements = batch * channels * length

        def backward(_copy):
            args = operands(batch, channels, length, grad=True)
            y, grad_y = scan.selective_scan_fn(**args, delta_softplus=True), session.random(batch, channels, length)
            return lambda: torch.autograd.grad(y, list(args.values()), grad_y, retain_graph=True)

        session.measure(
            "scan-backward", (batch, channels, length), "mamba_ssm", backward,
            bytes_moved=(7 * elements + 4 * batch * length * STATES) * size, operations=3 * flops(elements), elements=elements)


def convolutions(session):
    conv = imported("causal_conv1d", "causal-conv1d")
    if conv is None:
        return
    torch = session.torch
    size = torch.empty((), dtype=session.dtype).element_size()

    # Channels innermost, as in MambaCuda.
    def operands(batch, channels, length, grad):
        x = session.random(batch, length, channels).transpose(1, 2)
        weight, bias = session.random(channels, 4, deviation=0.3), session.random(channels)
        return [value.requires_grad_(grad) for value in (x, weight, bias)]

    for batch, channels, length in CONV:
        elements = batch * channels * length

        def forward(_copy):
            x, weight, bias = operands(batch, channels, length, grad=False)
            return lambda: conv.causal_conv1d_fn(x, weight, bias, activation="silu")

        session.measure(
            "conv1d", (batch, channels, length), "causal_conv1d", forward,
            bytes_moved=2 * elements * size, operations=12.0 * elements, elements=elements)
    for batch, channels, length in CONV_BACKWARD:
        elements = batch * channels * length

        def backward(_copy):
            args = operands(batch, channels, length, grad=True)
            y = conv.causal_conv1d_fn(*args, activation="silu")
            grad_y = session.random(batch, length, channels).transpose(1, 2)
            return lambda: torch.autograd.grad(y, args, grad_y, retain_graph=True)

        session.measure(
            "conv1d-backward", (batch, channels, length), "causal_conv1d", backward,
            bytes_moved=3 * elements * size, operations=30.0 * elements, elements=elements)


def models(session):
    mixer = imported("mamba_ssm.models.mixer_seq_simple", "the official model")
    config = imported("mamba_ssm.models.config_mamba", "the official model")
    generation = imported("mamba_ssm.utils.generation", "the official model")
    if mixer is None or config is None or generation is None:
        return
    torch = session.torch
    held = {}

    def model_of(name):
        if name not in held:
            held.clear()
            torch.cuda.empty_cache()
            width, layers = MODELS[name]
            made = mixer.MambaLMHeadModel(
                config.MambaConfig(d_model=width, n_layer=layers, vocab_size=50277, rms_norm=True, residual_in_fp32=True, fused_add_norm=True),
                device="cuda", dtype=session.dtype)
            held[name] = made.eval()
        return held[name]

    for name, batch, length in PREFILL:
        def prefill(_copy):
            model = model_of(name)
            tokens = torch.randint(0, 50277, (batch, length), device="cuda")

            def run():
                with torch.no_grad():
                    model(tokens, num_last_tokens=1)

            return run

        session.measure(
            "prefill", (batch, length), "mamba_ssm", prefill, model=name, bytes_moved=0, operations=0, copies=1, elements=batch * length)
    for name, batch in DECODE:
        def decode(_copy):
            model = model_of(name)
            tokens = torch.randint(0, 50277, (batch, 1), device="cuda")
            cache = generation.update_graph_cache(model, None, batch, seqlen_og=1, max_seqlen=1024)
            positions = torch.full((batch, 1), 4, dtype=torch.long, device="cuda")

            def run():
                with torch.no_grad():
                    cache.run(tokens, positions, 4)

            return run

        session.measure("decode", (batch,), "mamba_ssm", decode, model=name, bytes_moved=0, operations=0, copies=1, elements=batch)


def main():
    options = rivals.arguments(__doc__, "mamba").parse_args()
    session = rivals.Session(options, "mamba")
    scans(session)
    convolutions(session)
    models(session)
    versions = {"PyTorch": session.torch.__version__}
    for package in ("mamba_ssm", "causal_conv1d"):
        module = imported(package, package)
        if module is not None:
            versions[package] = getattr(module, "__version__", "of unknown version")
    session.finish(versions)


if __name__ == "__main__":
    main()
