"""Trains the default model: a byte-level Mamba on the text that make-corpus.cs writes.

    python train.py train CORPUS OUT      train on CORPUS/train.bin, write OUT/model.safetensors, OUT/config.json and OUT/result.json
    python train.py evaluate MODEL TEXT   bits per byte of a text file under MODEL/model.safetensors, one pass from the zero state
    python train.py check                 the CUDA scan and its gradients against a float64 recurrence

Needs PyTorch 2 and, on a GPU, CuPy (which compiles the two scan kernels below at start). `evaluate` also runs without a GPU.

A row of a batch is a stretch of the training text. Rows run on: the next step continues each row where it stopped, with its convolution
and scan states carried over (gradients stop there), and with probability `restart` a row jumps to the start of a random line and begins
from the zero state. So the model learns both to start from nothing, as a fresh prompt does, and to run for any length.
"""

import dataclasses
import json
import math
import struct
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass(frozen=True)
class Recipe:
    # model
    width: int = 192
    layers: int = 11
    inner: int = 384
    states: int = 16
    rank: int = 16
    kernel: int = 4
    vocabulary: int = 256
    epsilon: float = 1e-5
    # data
    rows: int = 64
    length: int = 1024
    restart: float = 0.125
    # optimisation
    steps: int = 11_500
    warmup: int = 500
    rate: float = 6e-3
    final_rate: float = 1e-5
    betas: tuple = (0.9, 0.95)
    decay: float = 0.1
    clip: float = 1.0
    evaluations: int = 40
    seed: int = 1


PROMPTS = ["The list", "Gets or sets ", "public ", "Initializes a new instance of the ", "Returns ", "System.Collections.Generic.",
           "If the ", "Hello"]

# ---------------------------------------------------------------------------------------------------------------------- selective scan

SCAN = r"""
// u, delta, y (B,L,D)   A (N,D)   bc (B,L,2N): B, then C   h0 (B,N,D)   states (B,L,N,D): every h, kept for backward
//   h[t] = exp(delta[t] A) h[t-1] + delta[t] u[t] B[t]        y[t] = sum_n C[t] h[t]
// One thread owns one channel and walks the sequence; a block is one warp: grid (D / 32, B). What the next AHEAD steps need waits in
// registers, or each step would wait for memory. Of B and C each lane holds one value, and a shuffle hands it to the others.
#define N 16
#define AHEAD 4
#define LOG2E 1.4426950408889634f
#define ALL 0xffffffffu

extern "C" __global__ void scan_forward(
    const float* __restrict__ u, const float* __restrict__ delta, const float* __restrict__ A, const float* __restrict__ bc,
    const float* __restrict__ h0, float* __restrict__ y, float* __restrict__ states, int L, int D)
{
    int lane = threadIdx.x;
    int d = blockIdx.x * 32 + lane;
    long long row = blockIdx.y;
    u += row * L * D + d;
    delta += row * L * D + d;
    bc += row * L * 2 * N + lane;
    y += row * L * D + d;
    states += row * L * N * D + d;
    float a[N], h[N], next_u[AHEAD], next_dt[AHEAD], next_bc[AHEAD];
    for (int n = 0; n < N; n++) {
        a[n] = A[n * D + d] * LOG2E;
        h[n] = h0[(row * N + n) * D + d];
    }
    for (int start = -AHEAD; start < L; start += AHEAD) {
        #pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            long long t = start + i;
            if (t >= 0 && t < L) {
                float dt = next_dt[i], dtu = dt * next_u[i], out = 0;
                #pragma unroll
                for (int n = 0; n < N; n++) {
                    h[n] = exp2f(dt * a[n]) * h[n] + dtu * __shfl_sync(ALL, next_bc[i], n);
                    out += h[n] * __shfl_sync(ALL, next_bc[i], N + n);
                    states[(t * N + n) * D] = h[n];
                }
                y[t * D] = out;
            }
            if (t + AHEAD < L) {
                next_u[i] = u[(t + AHEAD) * D];
                next_dt[i] = delta[(t + AHEAD) * D];
                next_bc[i] = bc[(t + AHEAD) * 2 * N];
            }
        }
    }
}

template <int S> __device__ void halve(float* sum, int lane)
{
    #pragma unroll
    for (int j = 0; j < S; j++) {
        float keep = lane & S ? sum[j + S] : sum[j];
        float give = lane & S ? sum[j] : sum[j + S];
        sum[j] = keep + __shfl_xor_sync(ALL, give, S);
    }
}

// The gradients of B and C sum over channels: each warp leaves its own sums in dbc (B,D/32,L,2N). dA (B,N,D) likewise for each row.
extern "C" __global__ void scan_backward(
    const float* __restrict__ u, const float* __restrict__ delta, const float* __restrict__ A, const float* __restrict__ bc,
    const float* __restrict__ h0, const float* __restrict__ states, const float* __restrict__ dy,
    float* __restrict__ du, float* __restrict__ ddelta, float* __restrict__ dA, float* __restrict__ dbc, int L, int D)
{
    int lane = threadIdx.x;
    int d = blockIdx.x * 32 + lane;
    long long row = blockIdx.y;
    u += row * L * D + d;
    delta += row * L * D + d;
    bc += row * L * 2 * N + lane;
    h0 += row * N * D + d;
    states += row * L * N * D + d;
    dy += row * L * D + d;
    du += row * L * D + d;
    ddelta += row * L * D + d;
    dbc += (row * gridDim.x + blockIdx.x) * L * 2 * N + lane;
    float a[N], g[N], h[N], da[N], next_u[AHEAD], next_dt[AHEAD], next_dy[AHEAD], next_bc[AHEAD], next_before[AHEAD][N];
    for (int n = 0; n < N; n++) {
        a[n] = A[n * D + d];
        g[n] = 0;
        da[n] = 0;
        h[n] = states[((long long)(L - 1) * N + n) * D];
    }
    for (int start = L - 1 + AHEAD; start >= 0; start -= AHEAD) {
        #pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            long long t = start - i;
            if (t >= 0 && t < L) {
                float dt = next_dt[i], ut = next_u[i], dyt = next_dy[i];
                float sum[2 * N], from_decay = 0, from_input = 0;
                #pragma unroll
                for (int n = 0; n < N; n++) {
                    g[n] += dyt * __shfl_sync(ALL, next_bc[i], N + n);
                    sum[n] = g[n] * dt * ut;
                    sum[N + n] = dyt * h[n];
                    from_input += g[n] * __shfl_sync(ALL, next_bc[i], n);
                    g[n] *= exp2f(dt * (a[n] * LOG2E));
                    h[n] = next_before[i][n];
                    float decayed = g[n] * h[n];
                    da[n] += decayed * dt;
                    from_decay += decayed * a[n];
                }
                du[t * D] = from_input * dt;
                ddelta[t * D] = from_input * ut + from_decay;
                // Transposing butterfly: 32 sums over 32 lanes in 31 shuffles; lane i ends with sum i.
                halve<16>(sum, lane);
                halve<8>(sum, lane);
                halve<4>(sum, lane);
                halve<2>(sum, lane);
                halve<1>(sum, lane);
                dbc[t * 2 * N] = sum[0];
            }
            t -= AHEAD;
            if (t >= 0) {
                next_u[i] = u[t * D];
                next_dt[i] = delta[t * D];
                next_dy[i] = dy[t * D];
                next_bc[i] = bc[t * 2 * N];
                const float* before = t > 0 ? states + (t - 1) * N * D : h0;
                #pragma unroll
                for (int n = 0; n < N; n++) next_before[i][n] = before[(long long)n * D];
            }
        }
    }
    for (int n = 0; n < N; n++) dA[(row * N + n) * D + d] = da[n];
}
"""


class CudaScan:
    _module = None

    @classmethod
    def launch(cls, name, rows, channels, *args):
        import cupy
        if cls._module is None:
            cls._module = cupy.RawModule(code=SCAN, options=("--use_fast_math",))
        pointers = [a.data_ptr() if torch.is_tensor(a) else cupy.int32(a) for a in args]
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            cls._module.get_function(name)((channels // 32, rows), (32,), tuple(pointers))


class SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, bc, h0):
        rows, length, channels = u.shape
        y = torch.empty_like(u)
        states = torch.empty(rows, length, A.shape[0], channels, device=u.device)
        CudaScan.launch("scan_forward", rows, channels, u, delta, A, bc, h0, y, states, length, channels)
        ctx.save_for_backward(u, delta, A, bc, h0, states)
        last = states[:, -1].clone()
        ctx.mark_non_differentiable(last)
        return y, last

    @staticmethod
    def backward(ctx, dy, _):
        u, delta, A, bc, h0, states = ctx.saved_tensors
        rows, length, channels = u.shape
        du, ddelta = torch.empty_like(u), torch.empty_like(u)
        dA = torch.empty_like(h0)
        dbc = torch.empty(rows, channels // 32, length, bc.shape[2], device=u.device)
        CudaScan.launch("scan_backward", rows, channels,
                        u, delta, A, bc, h0, states, dy.contiguous(), du, ddelta, dA, dbc, length, channels)
        return du, ddelta, dA.sum(0), dbc.sum(1), None


def plain_scan(u, delta, A, bc, h0):
    """The same in plain PyTorch, in the dtype of its inputs: what the kernels are checked against, and what runs without a GPU."""
    h, out = h0, []
    B, C = bc.split(A.shape[0], dim=-1)
    for t in range(u.shape[1]):
        h = torch.exp(delta[:, t, None] * A) * h + (delta[:, t] * u[:, t])[:, None] * B[:, t, :, None]
        out.append((h * C[:, t, :, None]).sum(1))
    return torch.stack(out, 1), h


def selective_scan(u, delta, A, bc, h0):
    if not u.is_cuda:
        return plain_scan(u, delta, A, bc, h0)
    return SelectiveScan.apply(u.contiguous(), delta.contiguous(), A.contiguous(), bc.contiguous(), h0.contiguous())


# ------------------------------------------------------------------------------------------------------------------------------- model


def linear(x, layer, precision, bias=None):
    return F.linear(x.to(precision), layer.weight.to(precision), bias)


def rms_norm(x, weight, epsilon):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * weight


class Mixer(nn.Module):
    """Parameters under their Hugging Face names, initialised as the paper's code does."""

    def __init__(self, r):
        super().__init__()
        self.in_proj = nn.Linear(r.width, 2 * r.inner, bias=False)
        self.conv1d = nn.Conv1d(r.inner, r.inner, r.kernel, groups=r.inner)
        self.x_proj = nn.Linear(r.inner, r.rank + 2 * r.states, bias=False)
        self.dt_proj = nn.Linear(r.rank, r.inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, r.states + 1, dtype=torch.float32)).repeat(r.inner, 1))
        self.D = nn.Parameter(torch.ones(r.inner))
        self.out_proj = nn.Linear(r.inner, r.width, bias=False)
        with torch.no_grad():
            self.dt_proj.weight.uniform_(-r.rank ** -0.5, r.rank ** -0.5)
            dt = torch.exp(torch.empty(r.inner).uniform_(math.log(1e-3), math.log(0.1))).clamp(min=1e-4)
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
            self.out_proj.weight.div_(math.sqrt(r.layers))


class Block(nn.Module):
    def __init__(self, r):
        super().__init__()
        self.norm = nn.Module()
        self.norm.weight = nn.Parameter(torch.ones(r.width))
        self.mixer = Mixer(r)
        self.recipe = r

    def before_scan(self, x, history, precision):
        m, r = self.mixer, self.recipe
        inner, gate = linear(rms_norm(x, self.norm.weight, r.epsilon), m.in_proj, precision).chunk(2, -1)
        padded = torch.cat([history, inner.float()], 1)
        length = x.shape[1]
        u = F.silu(m.conv1d.bias + sum(padded[:, k:k + length] * m.conv1d.weight[:, 0, k] for k in range(r.kernel)))
        low, bc = linear(u, m.x_proj, precision).split([r.rank, 2 * r.states], -1)
        delta = F.softplus(linear(low, m.dt_proj, precision).float() + m.dt_proj.bias)
        return u, delta, -torch.exp(m.A_log).t(), bc.float(), gate, padded[:, -(r.kernel - 1):].detach()

    def after_scan(self, x, y, u, gate, precision):
        m = self.mixer
        return x + linear((y + u * m.D) * F.silu(gate.float()), m.out_proj, precision).float()


class Mamba(nn.Module):
    def __init__(self, r):
        super().__init__()
        self.recipe = r
        self.backbone = nn.Module()
        self.backbone.embeddings = nn.Embedding(r.vocabulary, r.width)
        nn.init.normal_(self.backbone.embeddings.weight, std=0.02)
        self.backbone.layers = nn.ModuleList(Block(r) for _ in range(r.layers))
        self.backbone.norm_f = nn.Module()
        self.backbone.norm_f.weight = nn.Parameter(torch.ones(r.width))
        self.compiled = None

    def compile_for_training(self):
        self.compiled = torch.compile(Block.before_scan, dynamic=False), torch.compile(Block.after_scan, dynamic=False)

    def zero_state(self, rows):
        r, device = self.recipe, self.backbone.norm_f.weight.device
        return [(torch.zeros(rows, r.kernel - 1, r.inner, device=device), torch.zeros(rows, r.states, r.inner, device=device))
                for _ in range(r.layers)]

    def forward(self, ids, state, precision=torch.float32):
        """Logits (rows, length, vocabulary) and the state after the last byte."""
        before_scan, after_scan = self.compiled if self.compiled and torch.is_grad_enabled() else (Block.before_scan, Block.after_scan)
        x, after = self.backbone.embeddings(ids), []
        for block, (history, h0) in zip(self.backbone.layers, state):
            u, delta, A, bc, gate, history = before_scan(block, x, history, precision)
            y, h = selective_scan(u, delta, A, bc, h0)
            x = after_scan(block, x, y, u, gate, precision)
            after.append((history, h.detach()))
        x = rms_norm(x, self.backbone.norm_f.weight, self.recipe.epsilon)
        return F.linear(x.to(precision), self.backbone.embeddings.weight.to(precision)), after


def config(r):
    return {
        "architectures": ["MambaForCausalLM"], "model_type": "mamba", "torch_dtype": "bfloat16", "vocab_size": r.vocabulary,
        "hidden_size": r.width, "intermediate_size": r.inner, "state_size": r.states, "num_hidden_layers": r.layers,
        "conv_kernel": r.kernel, "expand": r.inner // r.width, "time_step_rank": r.rank, "layer_norm_epsilon": r.epsilon,
        "hidden_act": "silu", "use_bias": False, "use_conv_bias": True, "residual_in_fp32": True, "tie_word_embeddings": True,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    }


def save(model, folder):
    """bf16 safetensors: 8-byte length, JSON header padded with spaces to a multiple of 8, then the tensors without holes."""
    header, data = {"__metadata__": {"format": "pt"}}, bytearray()
    for name, tensor in model.state_dict().items():
        raw = tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps(config(model.recipe), indent=2) + "\n")


def load(folder, device):
    c = json.loads((folder / "config.json").read_text())
    model = Mamba(Recipe(width=c["hidden_size"], layers=c["num_hidden_layers"], inner=c["intermediate_size"], rank=c["time_step_rank"]))
    raw = (folder / "model.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, entry in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            tensors[name] = torch.frombuffer(bytearray(raw[begin:end]), dtype=torch.bfloat16).reshape(entry["shape"])
    model.load_state_dict(tensors)
    return model.to(device)


# ---------------------------------------------------------------------------------------------------------------------------- training


class Rows:
    """The rows of the batch, each at its place in the text; all on the device, so that the host never waits."""

    def __init__(self, text, r, device):
        self.text, self.recipe = text, r
        ends = torch.nonzero((text == 10) | (text == 0)).flatten() + 1
        self.starts = ends[ends < len(text) - r.length - 1]
        self.at = torch.full((r.rows,), len(text), device=device)

    def next(self):
        """Input and target bytes (rows, length), and which rows go on from the step before."""
        r = self.recipe
        fresh = self.starts[torch.randint(len(self.starts), (r.rows,), device=self.at.device)]
        keep = (torch.rand(r.rows, device=self.at.device) >= r.restart) & (self.at + r.length < len(self.text))
        self.at = torch.where(keep, self.at, fresh)
        window = self.text[self.at[:, None] + torch.arange(r.length + 1, device=self.at.device)].long()
        self.at = self.at + r.length
        return window[:, :-1], window[:, 1:], keep


def parameter_groups(model, r):
    """No weight decay on A_log, D, biases and norms."""
    plain = [p for name, p in model.named_parameters() if p.ndim == 1 or name.endswith("A_log")]
    decayed = [p for name, p in model.named_parameters() if not (p.ndim == 1 or name.endswith("A_log"))]
    return [{"params": decayed, "weight_decay": r.decay}, {"params": plain, "weight_decay": 0.0}]


def learning_rate(step, r):
    if step < r.warmup:
        return r.rate * (step + 1) / r.warmup
    return r.final_rate + 0.5 * (r.rate - r.final_rate) * (1 + math.cos(math.pi * (step - r.warmup) / (r.steps - r.warmup)))


def train(text, heldout, out, r, device):
    """Saves the weights whenever the held-out text says that they are the best so far: later they learn the text by heart."""
    torch.manual_seed(r.seed)
    model = Mamba(r).to(device)
    if device == "cuda":
        model.compile_for_training()
    precision = torch.bfloat16 if device == "cuda" else torch.float32
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {r.steps} steps of {r.rows} x {r.length} bytes, "
          f"{r.steps * r.rows * r.length / len(text):.1f} passes over {len(text):,} bytes", flush=True)
    optimizer = torch.optim.AdamW(parameter_groups(model, r), lr=r.rate, betas=r.betas, fused=device == "cuda")
    rows, state = Rows(text, r, device), model.zero_state(r.rows)
    started, best, mean, counted = time.time(), math.inf, torch.zeros((), device=device), 0
    for step in range(r.steps):
        ids, targets, keep = rows.next()
        state = [(history * keep[:, None, None], h * keep[:, None, None]) for history, h in state]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, r)
        logits, state = model(ids, state, precision)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), r.clip)
        optimizer.step()
        mean, counted = mean + loss.detach(), counted + 1
        if (step + 1) % (r.steps // r.evaluations) == 0 or step + 1 == r.steps:
            quick = bits_per_byte_in_rows(model, heldout)
            print(f"step {step + 1} train {mean.item() / counted / math.log(2):.4f} held out {quick:.4f} bits per byte, "
                  f"{time.time() - started:.0f} s, rate {learning_rate(step, r):.2e}", flush=True)
            mean, counted = torch.zeros((), device=device), 0
            if quick < best:
                best = quick
                save(model, out)


# -------------------------------------------------------------------------------------------------------------------------- evaluation


@torch.no_grad()
def bits_per_byte_in_rows(model, text, rows=64):
    """A quick figure during training: the text in `rows` pieces side by side, each from the zero state."""
    length = (len(text) - 1) // rows
    ids, targets = (text[o:o + rows * length].view(rows, length).long() for o in (0, 1))
    logits, _ = model(ids, model.zero_state(rows))
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item() / math.log(2)


@torch.no_grad()
def bits_per_byte(model, text, chunk=8192):
    """One pass from the zero state, which is carried over between chunks. The first byte is given, every later one is predicted."""
    state, bits = model.zero_state(1), 0.0
    for start in range(0, len(text) - 1, chunk):
        targets = text[start + 1:start + 1 + chunk].long()
        logits, state = model(text[None, start:start + len(targets)].long(), state)
        bits += F.cross_entropy(logits[0], targets, reduction="none").double().sum().item() / math.log(2)
    predicted = len(text) - 1
    return {"bytes": len(text), "predicted_bytes": predicted, "total_bits": round(bits, 3), "bits_per_byte": round(bits / predicted, 6)}


@torch.no_grad()
def generate(model, prompts, count, temperature):
    device = model.backbone.norm_f.weight.device
    generator = torch.Generator(device).manual_seed(1)
    first, states = [], []
    for prompt in prompts:
        logits, state = model(torch.tensor([list(prompt.encode())], device=device), model.zero_state(1))
        first.append(logits[:, -1])
        states.append(state)
    logits = torch.cat(first)
    state = [tuple(torch.cat(parts) for parts in zip(*layer)) for layer in zip(*states)]
    chosen = []
    for _ in range(count):
        if temperature == 0:
            ids = logits.argmax(-1, keepdim=True)
        else:
            ids = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator)
        chosen.append(ids)
        logits, state = model(ids, state)
        logits = logits[:, -1]
    texts = []
    for prompt, ids in zip(prompts, torch.cat(chosen, 1).tolist()):
        texts.append(prompt + "|" + bytes(ids).split(b"\0")[0].decode(errors="replace"))
    return texts


def check():
    """Forward and every gradient against float64, from a random initial state."""
    torch.manual_seed(0)
    worst = 0.0
    for rows, length, channels in [(1, 1, 32), (2, 37, 64), (3, 130, 96)]:
        A = -torch.rand(16, channels, dtype=torch.float64) * 8 - 0.1
        inputs = [torch.randn(rows, length, channels).double(), F.softplus(torch.randn(rows, length, channels).double() - 2), A,
                  torch.randn(rows, length, 32).double(), torch.randn(rows, 16, channels).double()]
        dy = torch.randn(rows, length, channels).double()
        exact = [t.clone().requires_grad_() for t in inputs]
        y, last = plain_scan(*exact)
        y.backward(dy)
        ours = [t.float().cuda().requires_grad_() for t in inputs]
        y32, last32 = selective_scan(*ours)
        y32.backward(dy.float().cuda())
        pairs = {"y": (y32, y), "last": (last32, last)}
        pairs.update({name: (a.grad, b.grad) for name, a, b in zip(("du", "ddelta", "dA", "dbc"), ours, exact)})
        for name, (a, b) in pairs.items():
            error = ((a.double().cpu() - b).norm() / b.norm()).item()
            print(f"{rows} x {length} x {channels} {name}: {error:.1e}")
            if not error < 1e-5:
                raise SystemExit(f"the scan's {name} is wrong")
            worst = max(worst, error)
    print(f"worst relative error {worst:.1e}")


def read(path, device):
    return torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8).to(device)


def main(verb, *paths):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if verb == "check":
        check()
    elif verb == "evaluate":
        print(json.dumps(bits_per_byte(load(Path(paths[0]), device), read(paths[1], device))))
    elif verb == "train":
        corpus, out = Path(paths[0]), Path(paths[1])
        text, heldout = read(corpus / "train.bin", device), read(corpus / "heldout.txt", device)
        train(text, heldout, out, Recipe(), device)
        model = load(out, device)
        result = {name: bits_per_byte(model, read(corpus / name, device)) for name in ("heldout.txt", "heldout-sample.txt")}
        (out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result))
        for temperature in (0, 0.7):
            print(f"--- temperature {temperature}")
            for sample in generate(model, PROMPTS, 200, temperature):
                print(sample + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
