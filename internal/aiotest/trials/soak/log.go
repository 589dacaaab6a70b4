package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// A log is a file to which all workers append records. Now and then one of them reads it all and
// empties it: every record must be there, whole, once, and those of one worker in order.
type log struct {
	*soak
	by    [modes]file
	using sync.RWMutex // held by writers for reading
	size  atomic.Int64
	wrote []uint32 // records, by worker
	found []uint32
}

const (
	mostLog   = 4 << 20 // size in bytes at which it is emptied
	header    = 16      // length, worker, number and checksum of a record, four bytes each
	mostEntry = 3000
)

func newLog(s *soak) (*log, error) {
	l := &log{soak: s, wrote: make([]uint32, s.goroutines), found: make([]uint32, s.goroutines)}
	for mode := range modes {
		var err error
		l.by[mode], err = open(filepath.Join(s.dir, "log"), mode, os.O_RDWR|os.O_CREATE|os.O_APPEND)
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// append adds a record.
func (l *log) append(w *worker) error {
	n := header + 1 + w.rand.IntN(mostEntry)
	if w.rand.IntN(4) == 0 {
		n = 4096
	}
	p := w.buffer[w.rand.IntN(2):][:n]
	w.fill(p)
	l.wrote[w.number]++
	for i, v := range []uint32{uint32(n), uint32(w.number), l.wrote[w.number], 0} {
		binary.LittleEndian.PutUint32(p[4*i:], v)
	}
	binary.LittleEndian.PutUint32(p[12:], crc32.ChecksumIEEE(p))

	if err := l.put(w, p); err != nil {
		return err
	}
	if l.size.Add(int64(n)) < mostLog {
		return nil
	}
	return l.rotate(false)
}

func (l *log) put(w *worker, p []byte) error {
	l.using.RLock()
	defer l.using.RUnlock()
	mode := w.rand.IntN(modes)
	var got int
	var err error
	l.timed(w.number, appending, mode, len(p), func() { got, err = l.by[mode].Write(p) })
	if got != len(p) || err != nil {
		return fmt.Errorf("%s: append %d bytes: %d, %w", modeNames[mode], len(p), got, err)
	}
	return nil
}

// rotate checks the log and empties it. last says that no worker writes any more.
func (l *log) rotate(last bool) error {
	l.using.Lock()
	defer l.using.Unlock()
	size := l.size.Load()
	if size < mostLog && !last {
		return nil // another worker was faster
	}
	content := make([]byte, size+1)
	var n int
	var err error
	// The last clock belongs to the worker that holds the log.
	l.timed(l.goroutines, readAt, direct, int(size), func() { n, err = l.by[direct].ReadAt(content, 0) })
	if err != io.EOF || int64(n) != size {
		return fmt.Errorf("the log has %d bytes, %w; want %d", n, err, size)
	}
	if err := l.check(content[:n], last); err != nil {
		return err
	}
	l.timed(l.goroutines, truncate, buffered, 0, func() { err = l.by[buffered].Truncate(0) })
	l.size.Store(0)
	return err
}

func (l *log) check(content []byte, last bool) error {
	for at := 0; at < len(content); {
		entry := content[at:]
		if len(entry) < header {
			return fmt.Errorf("the log ends within a record, at %d", at)
		}
		n, worker := binary.LittleEndian.Uint32(entry), binary.LittleEndian.Uint32(entry[4:])
		number, sum := binary.LittleEndian.Uint32(entry[8:]), binary.LittleEndian.Uint32(entry[12:])
		if n < header || int(n) > len(entry) || int(worker) >= len(l.found) {
			return fmt.Errorf("the log has no record at %d", at)
		}
		binary.LittleEndian.PutUint32(entry[12:], 0)
		if crc32.ChecksumIEEE(entry[:n]) != sum {
			return fmt.Errorf("the log's record at %d, of goroutine %d, is not whole", at, worker)
		}
		if number != l.found[worker]+1 {
			return fmt.Errorf("goroutine %d: record %d follows %d in the log", worker, number, l.found[worker])
		}
		l.found[worker] = number
		at += int(n)
	}
	if !last {
		return nil // a writer may have counted a record before writing it
	}
	for i, n := range l.wrote {
		if l.found[i] != n {
			return fmt.Errorf("goroutine %d: %d records in the log; it has written %d", i, l.found[i], n)
		}
	}
	return nil
}

func (l *log) close() {
	for _, f := range l.by {
		f.Close()
	}
}
