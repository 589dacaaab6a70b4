package raftwal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-aio/aio/adapters/raftwal"
)

// TestNoRoomAhead fills a filesystem so that there is no room ahead. The append itself is still
// written.
func TestNoRoomAhead(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8192"); err != nil {
		t.Skip("mount:", err)
	}
	defer syscall.Unmount(dir, 0)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "a"), nil, 0o600), os.Truncate(filepath.Join(dir, "a"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	f, err := raftwal.New(raftwal.Options{}).OpenWriter(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := bytes.Repeat([]byte("x"), 3000)
	for off := range int64(2) {
		if n, err := f.WriteAt(p, off*3000); n != len(p) || err != nil {
			t.Fatalf("WriteAt at %d: %d, %v", off*3000, n, err)
		}
	}
	if n, err := f.WriteAt(p, 6000); !errors.Is(err, syscall.ENOSPC) || n > 2192 {
		t.Errorf("WriteAt without enough room: %d, %v", n, err)
	}
	got := make([]byte, 6000)
	if n, err := f.ReadAt(got, 0); n != len(got) || err != nil || !bytes.Equal(got, append(p, p...)) {
		t.Errorf("ReadAt: %d, %v, or other bytes", n, err)
	}
}
