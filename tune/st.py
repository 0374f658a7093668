import re,collections,sys
names={'compute':'hidden x - pre scaled sync u+shares Z1 add Z2 scanpre sync projw scan inner out give head'.split(),'listen':'hgiven squares emptied fetch'.split(),'fetch':'landing empty issue'.split()}
d=None
def show():
    if not d: return
    for k in sorted(d):
        if k[1]==60 and (k[0]!='compute' or k[2] in (0,3,7)):
            v=d[k]; L=64
            print('  ',k[0],'w%d'%k[2],'tot %d'%(sum(v.values())/L),' '.join('%s %d'%(names[k[0]][i],v[i]/L) for i in sorted(v) if i<len(names[k[0]])))
for l in open(sys.argv[1]):
    if l.startswith('=='):
        show(); d=collections.defaultdict(dict); print(l.strip())
    m=re.match(r'S (\w+) b(\d+) w(\d+) (\d+) (\d+)',l)
    if m: d[(m[1],int(m[2]),int(m[3]))][int(m[4])]=int(m[5])
show()
