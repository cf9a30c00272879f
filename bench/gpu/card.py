"""What checks of the project's CUDA kernels share: compiling their text, launching it from torch, and timing."""

import ctypes, glob, os, statistics, sys

import torch

native = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "native", "cuda")
P, I = ctypes.c_void_p, ctypes.c_int


def text_of(name):
    """The text of a file of native/cuda, as it is compiled."""
    return "".join(open(os.path.join(native, file)).read() for file in ("device.cuh", name))


def library(pattern, *names):
    for folder in sys.path + ["/usr/local/cuda/lib64"]:
        for path in sorted(glob.glob(os.path.join(folder, "nvidia", "**", pattern), recursive=True)) + glob.glob(os.path.join(folder, pattern)):
            if ".alt." not in path:
                return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    for name in names:
        try:
            return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            pass
    raise SystemExit(f"no {pattern}")


library("libnvrtc-builtins.so*", "libnvrtc-builtins.so")
nvrtc, cuda = library("libnvrtc.so*", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"), ctypes.CDLL("libcuda.so.1")
torch.cuda.init()
torch.zeros(1, device="cuda")
capability = torch.cuda.get_device_capability()


def ask(code, what):
    if code != 0:
        raise SystemExit(f"{what}: {code}")


def compiled(text, name, kernels, bfloat16):
    """Compiles a text. Returns a CUfunction for each name in `kernels`."""
    program, size = P(), ctypes.c_size_t()
    ask(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None), "program")
    flags = [f"-arch=sm_{capability[0]}{capability[1]}".encode(), b"-std=c++17", b"-default-device"]
    if bfloat16:
        flags.append(b"-DREAL_BFLOAT16=1")
    code = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
    if code != 0:
        ask(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)), "log")
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        raise SystemExit(log.value.decode())
    ask(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)), "size")
    cubin = ctypes.create_string_buffer(size.value)
    ask(nvrtc.nvrtcGetCUBIN(program, cubin), "cubin")
    module = P()
    ask(cuda.cuModuleLoadData(ctypes.byref(module), cubin), "module")
    found = {}
    for kernel in kernels:
        found[kernel] = P()
        ask(cuda.cuModuleGetFunction(ctypes.byref(found[kernel]), module, kernel.encode()), "function")
    return found


def launch(function, blocks, threads, shared_bytes, job):
    """Launches on torch's current stream with one parameter, a Structure."""
    stream = P(torch.cuda.current_stream().cuda_stream)
    parameters = (P * 1)(ctypes.cast(ctypes.pointer(job), P))
    ask(cuda.cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared_bytes, stream, parameters, None), "launch")


def at(tensor):
    """A tensor's address; None where it has no elements."""
    return None if tensor is None or tensor.numel() == 0 else tensor.data_ptr()


def seconds_of(work, rounds=20):
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return statistics.median(times)


def captured(work):
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        work()
    return graph.replay


def copy_bandwidth():
    source_ = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source_)
    return 2 * source_.numel() * 4 / seconds_of(lambda: target.copy_(source_))


SHAPES = {  # name: layers, [(in, outs)] of each linear
    "tiny": (2, [(64, [64, 32, 32]), (64, [64]), (64, [128, 128]), (128, [64])]),
    "1b": (16, [(2048, [2048, 512, 512]), (2048, [2048]), (2048, [8192, 8192]), (8192, [2048])]),
    "8b": (32, [(4096, [4096, 1024, 1024]), (4096, [4096]), (4096, [14336, 14336]), (14336, [4096])]),
}
