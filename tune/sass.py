# usage: sass.py TREE FILE 'name-expr' arch [opts]; prints ptxas-ish info via cubin sections: regs from .nv.info? prints hash
import ctypes,sys,glob,os,hashlib,struct
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
L=ctypes.c_size_t(); n.nvrtcGetProgramLogSize(p,ctypes.byref(L)); b=ctypes.create_string_buffer(L.value); n.nvrtcGetProgramLog(p,b); log=b.value.decode()
if log: print(log)
if r: sys.exit(1)
if arch.startswith('sm'):
  n.nvrtcGetCUBINSize(p,ctypes.byref(L)); b=ctypes.create_string_buffer(L.value); n.nvrtcGetCUBIN(p,b); open('/tmp/out.cubin','wb').write(b.raw)
  d=b.raw
  shoff=struct.unpack_from('<Q',d,0x28)[0]; es,num,si=struct.unpack_from('<HHH',d,0x3a)
  sec=[struct.unpack_from('<IIQQQQIIQQ',d,shoff+i*es) for i in range(num)]
  st=sec[si][4]
  for s in sec:
    nm=d[st+s[0]:d.index(b'\0',st+s[0])].decode()
    if nm.startswith('.text'): print(nm[:60], 'bytes',s[5],'regs',(s[7]>>24), hashlib.md5(d[s[4]:s[4]+s[5]]).hexdigest()[:12])
