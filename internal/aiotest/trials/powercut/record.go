package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A record is what one call of the writer writes.
type record struct {
	file    int
	slot    int   // the place in the file; of an appended record, the goroutine that appends
	version int   // counts the records of the slot, from 1 on
	off     int64 // bytes; -1 if it is appended
	length  int   // bytes
}

// The first bytes of a record say what it is.
const (
	headerSize = 32
	magic      = 0xa10ced
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fill makes p, of r.length bytes, the content of r. Any sector of it tells which record
// of which run it is of: what follows the header is a sequence that is r's own.
func (r record) fill(p []byte, seed uint64) {
	state := seed ^ uint64(r.file)<<56 ^ uint64(r.slot)<<32 ^ uint64(r.version)
	state = mix(state)
	for i := 0; i < len(p); i += 8 {
		state += 0x9e3779b97f4a7c15
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], mix(state))
		copy(p[i:], word[:])
	}
	binary.LittleEndian.PutUint32(p, magic)
	binary.LittleEndian.PutUint32(p[8:], uint32(r.file))
	binary.LittleEndian.PutUint32(p[12:], uint32(r.slot))
	binary.LittleEndian.PutUint32(p[16:], uint32(r.version))
	binary.LittleEndian.PutUint32(p[20:], uint32(r.length))
	binary.LittleEndian.PutUint64(p[24:], uint64(r.off))
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(p[8:], castagnoli))
}

// mix is the finalizer of SplitMix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r record) content(seed uint64) []byte {
	p := make([]byte, r.length)
	r.fill(p, seed)
	return p
}

// secret is what the disk was full of, in a file that was deleted.
const secret = "bytes of a file that was deleted"

// describe says what the bytes at the beginning of p are.
func describe(p []byte) string {
	switch {
	case len(p) == 0:
		return "nothing"
	case bytes.Contains(p[:min(len(p), 2*len(secret))], []byte(secret[:8])):
		return "STALE: " + secret
	case len(bytes.Trim(p, "\x00")) == 0:
		return fmt.Sprintf("%d zeros", len(p))
	case len(p) < headerSize || binary.LittleEndian.Uint32(p) != magic:
		return fmt.Sprintf("%x...", p[:min(len(p), 16)])
	}
	field := func(at int) int { return int(int32(binary.LittleEndian.Uint32(p[at:]))) }
	r := record{field(8), field(12), field(16), int64(binary.LittleEndian.Uint64(p[24:])), field(20)}
	whole := "the beginning of"
	if r.length >= headerSize && r.length <= len(p) && crc32.Checksum(p[8:r.length], castagnoli) == binary.LittleEndian.Uint32(p[4:]) {
		whole = "all of"
	}
	return fmt.Sprintf("%s %+v", whole, r)
}

// An event is what the writer announces.
type event struct {
	kind byte
	at   int64 // when, by now
	record
}

// The kinds of events.
const (
	begun   = 'B' // before the call that writes
	written = 'W' // after it has returned
	synced  = 'A' // after Sync has; or the call, of a File opened with O_SYNC
	failed  = 'E' // a text follows: the end of the writer
)

// now is the time of a clock that all processes share, in nanoseconds.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // it has no reason to fail
	}
	return ts.Nano()
}

func (e event) appendTo(line []byte) []byte {
	return fmt.Appendf(line, "%c %d %d %d %d %d %d\n", e.kind, e.at, e.file, e.slot, e.version, e.off, e.length)
}

func parseEvent(line string) (event, error) {
	fields := strings.Fields(line)
	var numbers [6]int64
	if len(fields) != 1+len(numbers) || len(fields[0]) != 1 {
		return event{}, fmt.Errorf("the writer says %q", line)
	}
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseInt(fields[1+i], 10, 64); err != nil {
			return event{}, err
		}
	}
	return event{fields[0][0], numbers[0], record{
		int(numbers[1]), int(numbers[2]), int(numbers[3]), numbers[4], int(numbers[5]),
	}}, nil
}
