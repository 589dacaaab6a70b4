package faults

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/libaio"
)

// withoutKernel matches the tests to run without kernel AIO, or with part of it.
const withoutKernel = "^(TestReadError|TestCrowdOfErrors|TestWriteError|TestSyncError)$"

// TestRefused runs them in processes in which a seccomp filter refuses kernel AIO, or part of it:
// the faults have the same outcome.
func TestRefused(t *testing.T) {
	for _, name := range []string{"io_setup", "io_submit", "io_getevents"} {
		t.Run(name, func(t *testing.T) {
			aiotest.Guard(t)
			t.Setenv(filesystemEnv, aiotest.XFS.Name)
			aiotest.RunChild(t, withoutKernel, "refuse", name)
		})
	}
}

// TestUsedUp uses up /proc/sys/fs/aio-max-nr in another process: the faults have the same outcome,
// and once there is room again the library uses kernel AIO again.
func TestUsedUp(t *testing.T) {
	aiotest.Guard(t)
	aiotest.NeedsMounts(t)
	aiotest.RunChild(t, "^TestKernelComesBack$", "none")
}

// TestKernelComesBack must be the first test of its process that reads.
func TestKernelComesBack(t *testing.T) {
	if !aiotest.InChild() {
		return // TestUsedUp runs it
	}
	aiotest.Guard(t)
	server, count := serve(t), faults(t)
	aiotest.CompareWith(t, t.TempDir(), osDirect, subject(t, aiotest.O_DIRECT), func(side *aiotest.Side) {
		s := targets[0].stage(side, server, count)
		defer s.close()
		s.put(fileSize)
		f := s.open(os.O_RDWR)
		taker := aiotest.Child(t, "", "useup")
		in, err := taker.StdinPipe()
		must(err)
		out, err := taker.StdoutPipe()
		must(err)
		must(taker.Start())
		defer taker.Wait()
		defer in.Close()
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "taken\n" {
			t.Errorf("%q, %v", line, err)
		}
		readErrors(s, f, "without contexts: ", true)
		if n := contexts(t); n != 0 {
			t.Errorf("%d contexts, and there should be none", n)
		}
		crowdOfErrors(s, f, 0)
		in.Close()
		taker.Wait()
		if s.oracle() {
			return
		}
		aiotest.Until(t, "the kernel is used again", func() bool {
			stop := crowd(s, f)
			stop()
			return contexts(t) > 0
		})
	})
}

// contexts returns the number of AIO contexts of the process.
func contexts(t testing.TB) int {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "[aio]")
}

// useUp takes all contexts until its input ends. It runs in a child.
func useUp() {
	for n := 4096; n > 0; {
		if _, err := libaio.Setup(n); err == syscall.EAGAIN {
			n /= 2
		} else if err != nil {
			panic(err)
		}
	}
	fmt.Println("taken")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
