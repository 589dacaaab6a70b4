//go:build linux

package lifetime

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

const (
	busyWriters = 256 // goroutines; as many read
	busyRegion  = 16384
	busyDepth   = 32768 // large enough to find the process in /proc/sys/fs/aio-nr
)

// A journal is memory of the child that outlives it. For each writer it has the newest generation
// begun and the newest acknowledged by WriteAt.
type journal []byte

func openJournal(name string) journal {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	aiofile.Must(err)
	defer f.Close()
	aiofile.Must(f.Truncate(8 * busyWriters))
	p, err := unix.Mmap(int(f.Fd()), 0, 8*busyWriters, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	aiofile.Must(err)
	return p
}

func (l journal) begun(writer int) []byte { return l[8*writer:] }
func (l journal) done(writer int) []byte  { return l[8*writer+4:] }

func generation(p []byte) uint32 { return binary.LittleEndian.Uint32(p) }

// busyChild is a process with hundreds of requests in flight. It announces them, and ends as its
// standard input tells it. Its arguments are the files, the journal and Config.SyncLimit. One file
// is for direct I/O and the other for the page cache, so that writers do not wait for each other.
func busyChild(args []string) {
	synchronous, err := strconv.Atoi(args[3])
	aiofile.Must(err)
	aiofile.Must(aio.Configure(aio.Config{Depth: busyDepth, SyncLimit: synchronous}))
	l := openJournal(args[2])
	var files []*aio.File
	for i := range 4 {
		f, err := aio.OpenFile(args[i%2], os.O_RDWR|aiofile.Modes[i%2].Flag, 0)
		aiofile.Must(err)
		files = append(files, f)
	}
	// A goroutine that stays within the page cache would keep its P for 10 ms, and it would take
	// seconds until all have begun. So they yield.
	var begun sync.WaitGroup
	begun.Add(2 * busyWriters)
	for i := range busyWriters {
		go func() {
			once := sync.OnceFunc(begun.Done)
			p := aiotest.Buffer(busyRegion, 0)
			off := int64(i * busyRegion)
			if inCache(i) {
				p, off = p[:busyRegion-2*lineSize], off+lineSize
			}
			for g := uint32(1); ; g++ {
				putLines(p, 1, off, g)
				binary.LittleEndian.PutUint32(l.begun(i), g)
				_, err := files[i%4].WriteAt(p, off)
				aiofile.Must(err)
				binary.LittleEndian.PutUint32(l.done(i), g)
				once()
				runtime.Gosched()
			}
		}()
		go func() {
			once := sync.OnceFunc(begun.Done)
			p := aiotest.Buffer(busyRegion, i/4%2)
			for {
				_, err := files[i%4].ReadAt(p, int64(i*busyRegion))
				aiofile.Must(err)
				if i < 8 {
					aiofile.Must(files[i%4].Sync())
				}
				once()
				runtime.Gosched()
			}
		}()
	}
	begun.Wait()
	fmt.Println("busy")
	order, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	switch strings.TrimSpace(order) {
	case "exit":
		os.Exit(3)
	case "panic":
		panic("as told")
	case "exec":
		name, err := exec.LookPath("true")
		aiofile.Must(err)
		aiofile.Must(syscall.Exec(name, []string{name}, nil))
	}
	select {} // until it is killed
}

// inCache reports whether a writer's transfers are not whole blocks.
func inCache(writer int) bool { return writer%4 == 2 }

// aioNr returns the events of all contexts of the host.
func aioNr(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/aio-nr")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// rings returns the number of contexts of a process, each of which maps its ring of events, and
// about how many events they add to /proc/sys/fs/aio-nr.
func rings(t *testing.T, pid string) (contexts, events int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", pid, "maps"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if !strings.Contains(line, "[aio]") {
			continue
		}
		var lo, hi uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &lo, &hi); err != nil {
			t.Fatal(err)
		}
		contexts++
		events += int(hi-lo) / 64 // of 32 bytes, and the kernel allocates twice as many (fs/aio.c)
	}
	return contexts, events
}

// TestProcessEnds ends processes with hundreds of requests in flight, in every way. Direct requests
// are in the kernel's queue. With the default SyncLimit some of them are system calls, or all of
// them on a disk in memory. The process must end at once, and the kernel must free its contexts.
// Each line of the file has the acknowledged generation, or a newer one that was being written.
func TestProcessEnds(t *testing.T) {
	dir := aiotest.Dir(t)
	for i, how := range []string{"SIGKILL", "exit", "panic", "exec", "SIGTERM"} {
		if aiotest.Brief() && i > 0 {
			continue
		}
		t.Run(how, func(t *testing.T) {
			aiotest.Guard(t)
			contexts, rounds := 0, aiotest.Scaled(3)
			// Another process may use up /proc/sys/fs/aio-max-nr for a while.
			for i := 0; i < rounds || contexts == 0 && aiotest.Direct && i < 20; i++ {
				contexts += processEnds(t, dir, how, -1)
			}
			processEnds(t, dir, how, 0)
			if contexts == 0 && aiotest.Direct {
				t.Error("no process had a kernel context")
			}
		})
	}
}

// processEnds ends one process with that Config.SyncLimit, and returns the number of kernel
// contexts that it had.
func processEnds(t *testing.T, dir, how string, synchronous int) (contexts int) {
	t.Helper()
	content := make([]byte, busyWriters*busyRegion)
	putLines(content, 1, 0, 0)
	files := [2]string{aiofile.Put(t, dir, "cached", content), aiofile.Put(t, dir, "direct", content)}
	book := filepath.Join(t.TempDir(), "journal")
	l := openJournal(book)
	defer unix.Munmap(l)
	clear(l)

	cmd := aiotest.Child(t, "", "busy", files[0], files[1], book, strconv.Itoa(synchronous))
	cmd.Stderr = nil // the stacks of a panic are expected
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer aiotest.Follow(cmd.Process.Pid)()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "busy\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	contexts, events := rings(t, pid)
	during := aioNr(t)

	start := time.Now()
	switch how {
	case "SIGKILL":
		err = cmd.Process.Kill()
	case "SIGTERM":
		err = cmd.Process.Signal(syscall.SIGTERM)
	default:
		_, err = fmt.Fprintln(in, how)
	}
	if err != nil {
		t.Error(err)
	}
	err = cmd.Wait()
	took := time.Since(start)
	if got := cmd.ProcessState.String(); got != ends[how] {
		t.Errorf("the child ended with %q, %v; want %q", got, err, ends[how])
	}
	// An idle machine takes 10 to 50 ms.
	if took > 10*time.Second {
		t.Errorf("the process took %v to end", took)
	}
	if _, err := os.Stat("/proc/" + pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the process still exists: %v", err)
	}
	// Other processes have contexts too, but seldom as large. The kernel frees a context after a
	// grace period of RCU.
	if events >= busyDepth/4 {
		aiotest.Until(t, "the process's contexts are freed", func() bool { return aioNr(t) <= during-events/2 })
	}
	acknowledged := checkJournal(t, files, l)
	t.Logf("%d contexts, %d acknowledged writes; it ended in %v", contexts, acknowledged, took)
	return contexts
}

// ends maps each way to end a process to its outcome.
var ends = map[string]string{
	"exit": "exit status 3", "panic": "exit status 2", "exec": "exit status 0",
	"SIGKILL": "signal: killed", "SIGTERM": "signal: terminated",
}

// checkJournal compares the files with the journal of their writers.
func checkJournal(t *testing.T, files [2]string, l journal) (acknowledged int) {
	t.Helper()
	var contents [2][]byte
	for k, name := range files {
		var err error
		contents[k], err = os.ReadFile(name)
		if err != nil || len(contents[k]) != busyWriters*busyRegion {
			t.Fatal(len(contents[k]), err)
		}
	}
	for i := range busyWriters {
		got := contents[i%2]
		begun, done := generation(l.begun(i)), generation(l.done(i))
		acknowledged += int(done)
		first, last := int64(i*busyRegion)/lineSize, int64((i+1)*busyRegion)/lineSize-1
		err := checkLines(got[i*busyRegion:][:busyRegion], 1, int64(i*busyRegion), func(line int64, g uint32) bool {
			if inCache(i) && (line == first || line == last) {
				return g == 0 // no writer writes there
			}
			return g >= done && g <= begun
		})
		if err != nil {
			t.Errorf("writer %d has begun %d writes, and %d are acknowledged: %v", i, begun, done, err)
		}
	}
	return acknowledged
}

// TestExecBesideIO starts processes in a loop, while Files are opened, used and closed. No child
// may inherit a descriptor of the Files, and the fork must not disturb them.
func TestExecBesideIO(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	list, err := exec.LookPath("ls")
	if err != nil {
		t.Fatal(err)
	}
	c, name := newCrowd(t, aiotest.Dir(t), aio.O_DIRECT)
	before := inherited(t, list) // inherited from the parent of the test
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			f, err := aio.OpenFile(name, os.O_RDWR|aiofile.Modes[i%2].Flag, 0)
			if err != nil {
				t.Error(err)
				return
			}
			if err := (&crowd{f: f}).readAt(0, aiotest.Buffer(8192, 0)); err != nil {
				t.Error(err)
			}
			f.Close()
		}
	}()
	wait := c.start(t)
	for range aiotest.Scaled(100) {
		if got := inherited(t, list); !slices.Equal(got, before) {
			t.Errorf("a child has the descriptors %q; another had %q", got, before)
			break
		}
	}
	close(quit)
	<-ended
	if err := c.f.Close(); err != nil {
		t.Error(err)
	}
	wait()
	c.check(t, name)
}

// inherited returns the descriptors of a new process, including its own.
func inherited(t *testing.T, list string) (numbers []string) {
	t.Helper()
	out, err := exec.Command(list, "-l", "/proc/self/fd").Output()
	if err != nil {
		t.Error(err)
		return nil
	}
	for link := range strings.SplitSeq(string(out), "\n") {
		name, target, ok := strings.Cut(link, " -> ")
		if !ok {
			continue
		}
		fields := strings.Fields(name)
		if strings.HasPrefix(target, "pipe:") || strings.HasPrefix(target, "/proc/") {
			target = "" // a different one each time
		}
		numbers = append(numbers, fields[len(fields)-1]+" "+target)
	}
	return numbers
}
