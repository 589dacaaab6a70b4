package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/go-aio/aio/internal/aiotest/crashlog"
)

// A record is one write of the writer.
type record crashlog.Record

// The header of a record names it.
const (
	headerSize = 32
	magic      = 0xa10ced
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fill fills p, of r.Length bytes, with the content of r. Any sector of it identifies the record
// and the run: a sequence that belongs to r alone follows the header.
func (r record) fill(p []byte, seed uint64) {
	state := seed ^ uint64(r.File)<<56 ^ uint64(r.Slot)<<32 ^ uint64(r.Version)
	state = mix(state)
	for i := 0; i < len(p); i += 8 {
		state += 0x9e3779b97f4a7c15
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], mix(state))
		copy(p[i:], word[:])
	}
	binary.LittleEndian.PutUint32(p, magic)
	binary.LittleEndian.PutUint32(p[8:], uint32(r.File))
	binary.LittleEndian.PutUint32(p[12:], uint32(r.Slot))
	binary.LittleEndian.PutUint32(p[16:], uint32(r.Version))
	binary.LittleEndian.PutUint32(p[20:], uint32(r.Length))
	binary.LittleEndian.PutUint64(p[24:], uint64(r.Off))
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(p[8:], castagnoli))
}

// mix is the finalizer of SplitMix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r record) content(seed uint64) []byte {
	p := make([]byte, r.Length)
	r.fill(p, seed)
	return p
}

// secret filled the disk, in a file that was deleted.
const secret = "bytes of a file that was deleted"

// describe names the record or content that p begins with.
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
	if r.Length >= headerSize && r.Length <= len(p) && crc32.Checksum(p[8:r.Length], castagnoli) == binary.LittleEndian.Uint32(p[4:]) {
		whole = "all of"
	}
	return fmt.Sprintf("%s %+v", whole, r)
}
