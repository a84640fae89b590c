package environment
import ("testing";"os";"net";"time";"runtime";"golang.org/x/sys/unix";"sync")
func TestTmp(t *testing.T){
 Isolate()
 n,err:=openClusterNetwork(); if err!=nil {t.Fatal(err)}
 _=os.Args
 for i:=0;i<400;i++ {
  var ps [3]*podNetwork; var wg sync.WaitGroup
  for k:=range ps { wg.Go(func(){ ps[k],_=n.connect() }) }
  wg.Wait()
  dial:=func(from,to int){ wg.Go(func(){ runtime.LockOSThread(); unix.Setns(int(ps[from].namespace.Fd()),unix.CLONE_NEWNET)
   s:=time.Now(); fd,_:=unix.Socket(unix.AF_INET,unix.SOCK_STREAM,0); err:=unix.Connect(fd,&unix.SockaddrInet4{Port:1,Addr:ps[to].address.As4()}); if d:=time.Since(s); d>50*time.Millisecond { t.Log(i,from,to,err,d)}; unix.Close(fd)
   }) }
  dial(0,1);dial(1,2);dial(2,0);dial(1,0)
  wg.Go(func(){ s:=time.Now(); _,err:=net.Dial("tcp",ps[0].address.String()+":1"); if d:=time.Since(s); d>50*time.Millisecond { t.Log(i,"root",err,d)} })
  wg.Wait()
  for _,p:=range ps { p.close() }
 }
}
