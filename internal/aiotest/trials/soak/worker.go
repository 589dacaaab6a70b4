package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"

	"github.com/go-aio/aio"
)

// A worker is a goroutine. It is the only writer of a region of a shared file, and one
// in eight has a file of its own, too.
type worker struct {
	*soak
	number int
	rand   *rand.Rand
	shared *sharedFile
	base   int64
	model  []byte // of its region
	buffer []byte // a region and a block, aligned
	own    *ownFile
}

func (s *soak) newWorker(i int) *worker {
	w := &worker{
		soak: s, number: i, rand: rand.New(rand.NewPCG(s.seed, uint64(i))),
		shared: s.shared[i%s.files],
		base:   int64(s.shareOfCommon() + i/s.files*s.region()),
		model:  make([]byte, s.region()),
		buffer: aio.AlignedBuffer(s.region() + 4096),
	}
	if i%8 == 7 {
		w.own = &ownFile{worker: w}
	}
	return w
}

func (w *worker) run() {
	for w.turn() {
		var err error
		switch {
		case w.own != nil && w.rand.IntN(4) > 0:
			err = w.own.step()
		case w.rand.IntN(20) == 0:
			err = w.log.append(w)
		default:
			err = w.step()
		}
		if err != nil {
			w.fail(fmt.Errorf("goroutine %d: %w", w.number, err))
			return
		}
	}
}

// turn waits until the worker is active. It returns false in the end.
func (w *worker) turn() bool {
	if w.quit.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.number >= w.width && !w.quit.Load() {
		w.wider.Wait()
	}
	return !w.quit.Load()
}

// setWidth makes the first n workers active, and the others wait.
func (s *soak) setWidth(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.width = n
	s.wider.Broadcast()
}

// of returns one of the ways to the shared file, and its mode.
func (w *worker) of(modes int) (file, int) {
	mode := w.rand.IntN(modes)
	all := w.shared.by[mode]
	return all[w.rand.IntN(len(all))], mode
}

// step makes one operation, or two, on the shared file.
func (w *worker) step() error {
	switch n := w.rand.IntN(400); {
	case n < 130:
		return w.read()
	case n < 270:
		return w.write(w.of(byOS))
	case n < 320:
		return w.readCommon()
	case n < 350:
		return w.writeCommon()
	case n < 360:
		f, mode := w.of(modes)
		return w.sync(f, mode, sync_, f.Sync)
	case n < 366:
		f, mode := w.of(byOS)
		return w.sync(f, mode, datasync, f.(*aio.File).Datasync)
	case n < 376:
		return w.stat()
	case n < 377:
		return w.truncate()
	case n < 390:
		return w.refused()
	default:
		return w.reopen()
	}
}

// place returns the bytes [lo, lo+n) of the region, and memory for them: whole blocks of the file,
// or any bytes.
func (w *worker) place() (p []byte, lo int) {
	size := len(w.model)
	if w.rand.IntN(2) == 0 {
		first := int(-w.base & 4095)
		blocks := (size - first) / 4096
		n := 1 + w.rand.IntN(min(blocks, 4))
		lo = first + 4096*w.rand.IntN(blocks-n+1)
		return w.buffer[w.rand.IntN(3)/2:][:n*4096], lo // some from a bounce buffer
	}
	n := 1 + w.rand.IntN(min(size, []int{300, 9000, size}[w.rand.IntN(3)]))
	lo = w.rand.IntN(size - n + 1)
	return w.buffer[w.rand.IntN(4096):][:n], lo
}

func (w *worker) read() error {
	p, lo := w.place()
	f, mode := w.of(modes)
	return w.readAt(f, mode, p, w.base+int64(lo), w.model[lo:][:len(p)])
}

// readAt reads, and compares the bytes with want.
func (w *worker) readAt(f io.ReaderAt, mode int, p []byte, off int64, want []byte) error {
	var n int
	var err error
	w.timed(w.number, readAt, mode, len(p), func() { n, err = f.ReadAt(p, off) })
	if n != len(p) || err != nil {
		return fmt.Errorf("%s: ReadAt %d bytes at %d: %d, %w", modeNames[mode], len(p), off, n, err)
	}
	if !bytes.Equal(p, want) {
		return fmt.Errorf("%s: ReadAt %d bytes at %d: other bytes than were written: %s", modeNames[mode], len(p), off, differ(p, want))
	}
	return nil
}

func (w *worker) writeAt(f io.WriterAt, mode int, p []byte, off int64) error {
	var n int
	var err error
	w.timed(w.number, writeAt, mode, len(p), func() { n, err = f.WriteAt(p, off) })
	if n != len(p) || err != nil {
		return fmt.Errorf("%s: WriteAt %d bytes at %d: %d, %w", modeNames[mode], len(p), off, n, err)
	}
	return nil
}

// fill fills p with new bytes.
func (w *worker) fill(p []byte) { copy(p, w.noise[w.rand.IntN(len(w.noise)-len(p)):]) }

func (w *worker) write(f file, mode int) error {
	p, lo := w.place()
	w.fill(p)
	copy(w.model[lo:], p)
	return w.writeAt(f, mode, p, w.base+int64(lo))
}

// someCommon returns some of the common bytes, and memory for them.
func (w *worker) someCommon(memory []byte) (p []byte, lo int) {
	n := 1 + w.rand.IntN(min(len(w.common), []int{9000, len(memory) - 4096}[w.rand.IntN(2)]))
	lo = w.rand.IntN(len(w.common) - n + 1)
	if w.rand.IntN(2) == 0 {
		lo, n = lo&^4095, max(n&^4095, 4096)
		n = min(n, len(w.common)-lo)
	}
	return memory[w.rand.IntN(2):][:n], lo
}

// withLarge calls fn with memory for a MiB, now and then, or with the worker's own.
func (w *worker) withLarge(fn func(memory []byte) error) error {
	if w.rand.IntN(4) != 0 {
		return fn(w.buffer)
	}
	memory := <-w.large
	defer func() { w.large <- memory }()
	return fn(memory)
}

func (w *worker) readCommon() error {
	return w.withLarge(func(memory []byte) error {
		p, lo := w.someCommon(memory)
		f, mode := w.of(modes)
		return w.readAt(f, mode, p, int64(lo), w.common[lo:][:len(p)])
	})
}

func (w *worker) writeCommon() error {
	return w.withLarge(func(memory []byte) error {
		p, lo := w.someCommon(memory)
		f, mode := w.of(byOS)
		copy(p, w.common[lo:])
		return w.writeAt(f, mode, p, int64(lo))
	})
}

func (w *worker) sync(_ file, mode, kind int, call func() error) error {
	var err error
	w.timed(w.number, kind, mode, 0, func() { err = call() })
	if err != nil {
		return fmt.Errorf("%s: %s: %w", modeNames[mode], kindNames[kind], err)
	}
	return nil
}

func (w *worker) stat() error {
	f, mode := w.of(modes)
	var fi os.FileInfo
	var err error
	w.timed(w.number, stat, mode, 0, func() { fi, err = f.Stat() })
	if err == nil && fi.Size() < w.shared.size {
		err = fmt.Errorf("the size is %d, less than %d", fi.Size(), w.shared.size)
	}
	return err
}

// truncate changes the size, beyond all regions.
func (w *worker) truncate() error {
	f, mode := w.of(byOS)
	size := w.shared.size + int64(w.rand.IntN(9000))
	return w.sync(f, mode, truncate, func() error { return f.Truncate(size) })
}

// refused makes calls that fail.
func (w *worker) refused() error {
	var n int
	var err error
	switch w.rand.IntN(3) {
	case 0:
		w.timed(w.number, refused, direct, 0, func() { n, err = w.shared.readOnly.WriteAt(w.buffer[:4096], 0) })
		if n != 0 || !errors.Is(err, syscall.EBADF) {
			return fmt.Errorf("WriteAt to a file open for reading: %d, %w", n, err)
		}
	case 1:
		f, mode := w.of(modes)
		w.timed(w.number, refused, mode, 0, func() { n, err = f.ReadAt(w.buffer[:4096], w.shared.size+16384) })
		if n != 0 || err != io.EOF {
			return fmt.Errorf("ReadAt past the end: %d, %w", n, err)
		}
	default:
		f, mode := w.of(byOS)
		w.timed(w.number, refused, mode, 0, func() { n, err = f.WriteAt(w.buffer[:4096], -4096) })
		if n != 0 || err == nil {
			return fmt.Errorf("WriteAt a negative offset: %d, %w", n, err)
		}
	}
	return nil
}

// reopen opens the shared file once more, uses it and closes it.
func (w *worker) reopen() error {
	mode := w.rand.IntN(byOS)
	var f file
	var err error
	w.timed(w.number, openFile, mode, 0, func() { f, err = open(w.shared.name, mode, os.O_RDWR) })
	if err != nil {
		return err
	}
	if err := w.write(f, mode); err != nil {
		return err
	}
	p, lo := w.place()
	if err := w.readAt(f, mode, p, w.base+int64(lo), w.model[lo:][:len(p)]); err != nil {
		return err
	}
	w.timed(w.number, closeFile, mode, 0, func() { err = f.Close() })
	return err
}
