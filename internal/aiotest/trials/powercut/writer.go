package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/crashlog"
	"github.com/go-aio/aio/stream"
	"golang.org/x/sys/unix"
)

// A file is one of package aio, or of package os.
type file interface {
	Write(p []byte) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Sync() error
	Datasync() error
}

// An osFile is the oracle: the checker must accept its results.
type osFile struct{ *os.File }

// Datasync is fdatasync(2).
func (f osFile) Datasync() error { return unix.Fdatasync(int(f.Fd())) }

// A logFile is a file that is written by an exclusive Writer.
type logFile struct {
	*stream.Writer
	file
}

func (f logFile) Write(p []byte) (int, error) { return f.Writer.Write(p) }
func (f logFile) Sync() error                 { return f.Writer.Sync() }
func (f logFile) Datasync() error             { return f.Writer.Sync() }

// engines open files. That of package os ignores O_DIRECT.
var engines = map[string]func(name string, flag int) (file, error){
	"aio": func(name string, flag int) (file, error) {
		f, err := aio.OpenFile(name, flag, 0)
		if err == nil && f.Direct() != (flag&aio.O_DIRECT != 0) {
			err = fmt.Errorf("%s: Direct is %t", name, f.Direct())
		}
		return f, err
	},
	"os": func(name string, flag int) (file, error) {
		f, err := os.OpenFile(name, flag&^aio.O_DIRECT, 0)
		return osFile{f}, err
	},
}

// writerEnv makes the process a writer: its engine, its seed and its directory.
const writerEnv = "POWERCUT_WRITER"

// beWriter does not return if the process is a writer. It writes until it is killed, or until the
// pipe to its parent is closed.
func beWriter() {
	var engine, dir string
	var seed uint64
	if n, _ := fmt.Sscanf(os.Getenv(writerEnv), "%s %d %s", &engine, &seed, &dir); n != 3 {
		return
	}
	err := runWriter(engines[engine], seed, dir)
	crashlog.Fail(err)
}

// runWriter returns the first error.
func runWriter(open func(string, int) (file, error), seed uint64, dir string) error {
	errs := make(chan error)
	for i, p := range plans(seed) {
		flag := os.O_RDWR | p.sync
		if p.slots == nil && !p.stream {
			flag |= os.O_APPEND
		}
		files := make([]file, len(p.flags))
		for j := range files {
			f, err := open(filepath.Join(dir, p.name), flag|p.flags[j])
			if err != nil {
				return err
			}
			if a, ok := f.(*aio.File); ok && p.log > 0 {
				f = logFile{stream.NewWriter(a, stream.WriterOptions{BlockSize: p.log, Depth: 1 + len(p.name)%3, Exclusive: true}), f}
			}
			files[j] = f
		}
		for j := range p.workers {
			w := &worker{
				plan: p, number: i, worker: j, file: files[j%len(files)], seed: seed,
				rand: rand.New(rand.NewPCG(seed, uint64(100+i*10+j))), versions: make([]int, max(len(p.slots), p.workers)),
				slab: aiotest.Buffer(128<<10, 0),
			}
			go func() { errs <- w.run() }()
		}
	}
	return <-errs
}

// A worker is one goroutine that writes.
type worker struct {
	plan
	number, worker int // of the plan, and in it
	file           file
	seed           uint64
	rand           *rand.Rand
	versions       []int // by slot
	frontier       int   // slots of the worker that have been written to
	size           int64 // bytes that it has appended
	slab           []byte
}

// run writes some records, syncs, and so on.
func (w *worker) run() error {
	for {
		if w.pause > 0 {
			time.Sleep(time.Duration(w.rand.Int64N(int64(w.pause))))
		}
		var batch []record
		for range 1 + w.rand.IntN(4) {
			r := w.next()
			if err := w.write(r); err != nil {
				return err
			}
			batch = append(batch, r)
		}
		if w.size > w.full/int64(w.workers) {
			select {} // the other workers need room
		}
		if w.plan.sync != 0 || w.slots != nil && w.rand.IntN(8) == 0 {
			continue // acknowledged already, or left to a later Sync
		}
		if err := w.sync(); err != nil {
			return err
		}
		announce(crashlog.Synced, batch...)
	}
}

// next chooses the next record. A worker goes from slot to slot of its own, and goes back more
// often than on, so that files grow all the time.
func (w *worker) next() record {
	r := record{File: w.number, Slot: w.worker, Off: -1}
	if w.slots == nil {
		r.Length = shortest + w.rand.IntN(w.longest)
		if w.stream && w.rand.IntN(4) == 0 {
			r.Length = blockSize - int(w.size%blockSize) + 2*blockSize // up to a block's end
		}
		w.size += int64(r.Length)
	} else {
		mine := (len(w.slots) - w.worker + w.workers - 1) / w.workers
		turn := w.frontier
		if turn == mine || turn > 0 && w.rand.IntN(6) > 0 {
			turn = w.rand.IntN(turn)
		} else {
			w.frontier++
		}
		r.Slot = w.worker + turn*w.workers
		r.Off, r.Length = w.slots[r.Slot].off, w.slots[r.Slot].length
	}
	w.versions[r.Slot]++
	r.Version = w.versions[r.Slot]
	return r
}

// write writes r from aligned or unaligned memory.
func (w *worker) write(r record) error {
	p := w.slab[w.rand.IntN(2)*w.rand.IntN(blockSize):][:r.Length]
	r.fill(p, w.seed)
	announce(crashlog.Begun, r)
	var n int
	var err error
	if r.Off < 0 {
		n, err = w.file.Write(p)
	} else {
		n, err = w.file.WriteAt(p, r.Off)
	}
	if err != nil || n != len(p) {
		return fmt.Errorf("%s: %+v: %d, %w", w.name, r, n, err)
	}
	_, byWriter := w.file.(logFile)
	switch {
	case w.plan.sync != 0:
		announce(crashlog.Synced, r)
	case !byWriter: // else it may still be in the process
		announce(crashlog.Written, r)
	}
	return nil
}

func (w *worker) sync() error {
	if w.data {
		return w.file.Datasync()
	}
	return w.file.Sync()
}

// announce announces records to the parent.
func announce(kind byte, records ...record) {
	list := make([]crashlog.Record, len(records))
	for i, r := range records {
		list[i] = crashlog.Record(r)
	}
	crashlog.Announce(kind, list...)
}

// writer returns this program as a writer.
func writer(engine string, seed uint64, dir string) *exec.Cmd {
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), writerEnv+"="+engine+" "+strconv.FormatUint(seed, 10)+" "+dir)
	return child
}
