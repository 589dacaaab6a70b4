//go:build linux

// Threadcap reads a slow file in thousands of goroutines at the same moment, one block each,
// through os.File and then through aio.File. It prints how long all of them took, and the maximum
// number of threads of the process:
//
//	go -C internal/aiotest/trials run ./threadcap -goroutines 20000 -delay 50ms
//
// The file is on a FUSE filesystem that serves all requests side by side, each of them after
// -delay. It has no direct I/O, like most network filesystems, so the aio.File is buffered. Each
// reader is a process of its own, because Go ends a process that has 10,000 threads. If os.File
// ends that way, the program reports it, which is no failure. It is a failure if aio.File needs
// more than Config.Threads and a few more. Threadcap needs root.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

const (
	block = 4096
	// ofItsOwn is the number of threads of a program beside those of its system calls.
	ofItsOwn = 16
	threads  = 256 // aio.Config.Threads, by default
)

// An outcome is the output of a reader.
type outcome struct {
	Took    time.Duration
	Threads int
	Died    string `json:"-"`
}

func main() {
	goroutines := flag.Int("goroutines", 20000, "number of goroutines, each of which reads once")
	delay := flag.Duration("delay", 50*time.Millisecond, "time that a read takes")
	reader := flag.String("read", "", "be the reader of this file")
	through := flag.String("through", "", "os or aio, for -read")
	flag.Parse()
	var err error
	if *reader != "" {
		err = read(*reader, *through, *goroutines)
	} else {
		err = run(*goroutines, *delay)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "threadcap:", err)
		os.Exit(1)
	}
}

// run serves the file and starts the readers.
func run(goroutines int, delay time.Duration) error {
	dir, err := os.MkdirTemp("", "threadcap")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	server, err := fusedisk.Mount(dir)
	if err != nil {
		return err
	}
	defer server.Close()
	disk := server.Create("slow", int64(goroutines)*block)
	disk.Inject(func(fusedisk.Request) fusedisk.Fault { return fusedisk.Fault{Delay: delay} })
	fmt.Printf("%d goroutines read 4 KiB each of a file whose reads take %v:\n", goroutines, delay)
	for _, through := range []string{"os", "aio"} {
		got, err := start(disk.Path(), through, goroutines)
		if err != nil {
			return err
		}
		if got.Died != "" {
			fmt.Printf("  %s.File: %s\n", through, got.Died)
		} else {
			fmt.Printf("  %s.File: %v, %d threads\n", through, got.Took.Round(time.Millisecond), got.Threads)
		}
		if through == "aio" && (got.Died != "" || got.Threads > threads+ofItsOwn) {
			return fmt.Errorf("aio.File needed more than %d threads", threads+ofItsOwn)
		}
	}
	return nil
}

// start runs a reader to its end. The reader's directory is not the file's: this process could not
// serve that while it starts another.
func start(name, through string, goroutines int) (outcome, error) {
	cmd := exec.Command("/proc/self/exe", "-read", name, "-through", through, "-goroutines", fmt.Sprint(goroutines))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if died, ok := errors.AsType[*exec.ExitError](err); ok {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return outcome{Died: fmt.Sprintf("%v: %s", died, first)}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	var got outcome
	return got, json.Unmarshal(stdout.Bytes(), &got)
}

type file interface {
	io.ReaderAt
	io.Closer
}

func read(name, through string, goroutines int) error {
	f, err := open(name, through)
	if err != nil {
		return err
	}
	defer f.Close()
	bufs := make([]byte, goroutines*block)
	errs := make([]error, goroutines)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range goroutines {
		all.Go(func() {
			_, errs[i] = f.ReadAt(bufs[i*block:(i+1)*block], int64(i)*block)
		})
	}
	all.Wait()
	got := outcome{Took: time.Since(begin)}
	if got.Threads, err = ownThreads(); err != nil {
		return err
	}
	return errors.Join(errors.Join(errs...), json.NewEncoder(os.Stdout).Encode(got))
}

func open(name, through string) (file, error) {
	if through == "os" {
		return os.Open(name)
	}
	return aio.Open(name)
}

// ownThreads returns the number of threads of this process. It is also the maximum so far, because
// Go does not end threads.
func ownThreads() (int, error) {
	entries, err := os.ReadDir("/proc/self/task")
	return len(entries), err
}
