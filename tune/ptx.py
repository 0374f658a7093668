import ctypes,sys,glob,os
tree,file,expr,arch=sys.argv[1:5]; opts=sys.argv[5:]
n=ctypes.CDLL('/usr/lib/x86_64-linux-gnu/libnvrtc.so.11.2')
src=open(f'{tree}/native/kernels/{file}').read().encode()
hs=sorted(glob.glob(f'{tree}/native/include/mamba/*.cuh'))
H=(ctypes.c_char_p*len(hs))(*[open(h).read().encode() for h in hs]); N=(ctypes.c_char_p*len(hs))(*[('mamba/'+os.path.basename(h)).encode() for h in hs])
p=ctypes.c_void_p(); assert n.nvrtcCreateProgram(ctypes.byref(p),src,file.encode(),len(hs),H,N)==0
assert n.nvrtcAddNameExpression(p,expr.encode())==0
o=[f'--gpu-architecture={arch}','-std=c++17','-default-device']+opts
O=(ctypes.c_char_p*len(o))(*[x.encode() for x in o])
r=n.nvrtcCompileProgram(p,len(o),O)
L=ctypes.c_size_t(); n.nvrtcGetProgramLogSize(p,ctypes.byref(L)); b=ctypes.create_string_buffer(L.value); n.nvrtcGetProgramLog(p,b)
print(b.value.decode(),file=sys.stderr)
n.nvrtcGetPTXSize(p,ctypes.byref(L)); b=ctypes.create_string_buffer(L.value); n.nvrtcGetPTX(p,b); print(b.value.decode())
