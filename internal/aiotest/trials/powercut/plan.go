package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/go-aio/aio"
	"golang.org/x/sys/unix"
)

// A plan describes the writes to one file.
type plan struct {
	name    string
	start   start
	size    int64         // bytes, at the start; or reserved
	slots   []slot        // the places of records; nil if they are appended
	stream  bool          // appended by the File's own offset, not by O_APPEND
	log     int           // appended by an exclusive Writer with blocks of that many bytes
	workers int           // goroutines; each has slots of its own
	flags   []int         // one File for each, which the workers share
	sync    int           // O_SYNC or O_DSYNC: for each write; else see datasync
	data    bool          // Datasync, not Sync
	longest int           // bytes of an appended record
	full    int64         // bytes; a file of this size is full
	pause   time.Duration // of a worker after a Sync, at most
}

// A slot is a place in a file. Only records of its length are written to it.
type slot struct {
	off    int64
	length int
}

func (s slot) end() int64 { return s.off + int64(s.length) }

func (s slot) aligned() bool { return s.off%blockSize == 0 && s.length%blockSize == 0 }

// A start is the state of a file before the writer starts.
type start int

const (
	empty     start = iota
	hole            // as long as it will be, and nothing is allocated
	allocated       // by fallocate(2), as long as it will be
	reserved        // by fallocate(2) with FALLOC_FL_KEEP_SIZE: it is empty
)

const (
	blockSize  = 4096
	sectorSize = 512
	shortest   = 64 // bytes of a record
)

// plans returns the plans of one writer. Its parent makes the same ones from the same seed.
func plans(seed uint64) []plan {
	r := rand.New(rand.NewPCG(seed, 1))
	const direct, buffered = aio.O_DIRECT, 0
	either := func() []int { return []int{direct * r.IntN(2)} }
	all := []plan{
		{name: "blocks", start: hole, slots: blocks(r, 32), workers: 3, flags: []int{direct}},
		{name: "blocks-allocated", start: allocated, slots: blocks(r, 32), workers: 3, flags: []int{direct}, data: true},
		{name: "blocks-extending", slots: blocks(r, 64), workers: 1, flags: []int{direct}, data: true},
		{name: "blocks-reserved", start: reserved, slots: blocks(r, 64), workers: 2, flags: []int{direct}, data: r.IntN(2) == 0},
		{name: "unaligned", slots: unaligned(r, 200), workers: 3, flags: []int{direct}},
		{name: "unaligned-buffered", slots: unaligned(r, 200), workers: 2, flags: []int{buffered}, data: true},
		{name: "unaligned-allocated", start: allocated, slots: unaligned(r, 200), workers: 2, flags: either(), data: true},
		{name: "mixed", start: start(r.IntN(3)), slots: mixed(r, 60), workers: 4, flags: []int{direct, buffered, direct, direct}},
		{name: "mixed-sync", slots: mixed(r, 60), workers: 2, flags: []int{direct}, sync: os.O_SYNC},
		{name: "mixed-dsync", slots: mixed(r, 60), workers: 2, flags: []int{direct}, sync: unix.O_DSYNC},
		{name: "append", workers: 3, flags: []int{direct}, longest: 3000},
		{name: "append-short", workers: 1, flags: []int{direct}, data: true, longest: 300},
		{name: "append-buffered", workers: 3, flags: []int{buffered, direct}, data: true, longest: 9000},
		{name: "append-dsync", workers: 2, flags: either(), sync: unix.O_DSYNC, longest: 2000},
		{name: "stream", stream: true, workers: 1, flags: []int{direct}, longest: 12000},
		{name: "stream-buffered", stream: true, workers: 1, flags: []int{buffered}, data: true, longest: 5000},
		{name: "log", stream: true, log: blockSize << r.IntN(9), workers: 3, flags: []int{direct}, longest: 3000},
		{name: "log-short", stream: true, log: blockSize << r.IntN(9), workers: 1 + r.IntN(4), flags: []int{direct}, longest: 300},
		{name: "log-buffered", stream: true, log: blockSize << r.IntN(9), workers: 2, flags: []int{buffered}, longest: 9000},
	}
	for i := range all {
		if slots := all[i].slots; slots != nil && all[i].start != empty {
			all[i].size = slots[len(slots)-1].end()
		}
		all[i].full = 3 << 20
	}
	if r.IntN(3) == 0 {
		return quiet(r, all)
	}
	return all
}

// quiet returns one or two of all plans, with pauses, so that no other flush makes up for an
// omitted one.
func quiet(r *rand.Rand, all []plan) []plan {
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:1+r.IntN(2)]
	for i := range all {
		all[i].pause, all[i].full = 10*time.Millisecond, 16<<20
	}
	return all
}

// blocks returns n slots of whole blocks, side by side.
func blocks(r *rand.Rand, n int) []slot {
	all := make([]slot, n)
	off := int64(0)
	for i := range all {
		all[i] = slot{off, blockSize * (1 + r.IntN(2)*r.IntN(12))}
		off = all[i].end()
	}
	return all
}

// unaligned returns n slots, side by side, so that most share blocks and sectors with their
// neighbours.
func unaligned(r *rand.Rand, n int) []slot {
	all := make([]slot, n)
	off := int64(r.IntN(3) * 13)
	for i := range all {
		all[i] = slot{off, shortest + r.IntN(6000)}
		off = all[i].end()
	}
	return all
}

// mixed returns n slots of either kind, which lie in the same large folios but not in the
// same blocks.
func mixed(r *rand.Rand, n int) []slot {
	all := make([]slot, n)
	off := int64(0)
	for i := range all {
		off = (off + blockSize - 1) / blockSize * blockSize
		all[i] = slot{off, blockSize * (1 + r.IntN(4))}
		if i%2 == 1 {
			all[i] = slot{off + int64(r.IntN(1000)), shortest + r.IntN(10000)}
		}
		off = all[i].end()
	}
	return all
}

// create makes the file in its initial state.
func (p plan) create(dir string) error {
	f, err := os.Create(filepath.Join(dir, p.name))
	if err != nil {
		return err
	}
	defer f.Close()
	switch p.start {
	case hole:
		return f.Truncate(p.size)
	case allocated:
		err = unix.Fallocate(int(f.Fd()), 0, 0, p.size)
	case reserved:
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, p.size)
	}
	if err != nil {
		return fmt.Errorf("fallocate %s: %w", p.name, err)
	}
	return nil
}

// startSize returns the size of the file before the writer starts.
func (p plan) startSize() int64 {
	if p.start == reserved {
		return 0
	}
	return p.size
}
