//go:build linux

package lifetime

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// lineSize is the length in bytes of a line. Its content names its file, its place, and its
// generation: how often the place had been written before. It divides blocks of direct I/O, so a
// write of lines may be of whole blocks or not.
const lineSize = 64

// putLines fills p, which begins at byte offset off, with lines of a generation.
func putLines(p []byte, file uint32, off int64, generation uint32) {
	for at := 0; at < len(p); at += lineSize {
		putLine(p[at:at+lineSize], file, off+int64(at), generation)
	}
}

func putLine(p []byte, file uint32, off int64, generation uint32) {
	head, place := uint64(file)<<32|uint64(generation), uint64(off)
	x := head*0x9e3779b97f4a7c15 ^ place*0xbf58476d1ce4e5b9
	binary.LittleEndian.PutUint64(p, head)
	binary.LittleEndian.PutUint64(p[8:], place)
	for i := 16; i < lineSize; i += 8 {
		x = (x ^ x>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(p[i:], x|1) // not like a hole
	}
}

// checkLines calls ok with the generation of each line of p, which begins at byte offset off of the
// file. It returns an error if p is not such lines, or ok returns false.
func checkLines(p []byte, file uint32, off int64, ok func(line int64, generation uint32) bool) error {
	var want [lineSize]byte
	for at := 0; at < len(p); at += lineSize {
		got := p[at : at+lineSize]
		generation := binary.LittleEndian.Uint32(got)
		putLine(want[:], file, off+int64(at), generation)
		if string(got) != string(want[:]) {
			return fmt.Errorf("the line at %d is %q", off+int64(at), got)
		}
		if !ok((off+int64(at))/lineSize, generation) {
			return fmt.Errorf("the line at %d is of generation %d", off+int64(at), generation)
		}
	}
	return nil
}

func anyGeneration(int64, uint32) bool { return true }

// TestLines checks that checkLines finds a byte of another line, of another file or of an older
// generation.
func TestLines(t *testing.T) {
	p := make([]byte, 4*lineSize)
	putLines(p, 1, 4096, 7)
	if err := checkLines(p, 1, 4096, func(_ int64, g uint32) bool { return g == 7 }); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"another file":       checkLines(p, 2, 4096, anyGeneration),
		"another place":      checkLines(p, 1, 4096+lineSize, anyGeneration),
		"another generation": checkLines(p, 1, 4096, func(_ int64, g uint32) bool { return g > 7 }),
		"a hole":             checkLines(make([]byte, lineSize), 0, 0, anyGeneration),
	} {
		if err == nil {
			t.Errorf("%s is not seen", what)
		}
	}
	for i := range p {
		p[i]++
		if checkLines(p, 1, 4096, func(_ int64, g uint32) bool { return g == 7 }) == nil {
			t.Errorf("byte %d is not seen", i)
		}
		p[i]--
	}
}
