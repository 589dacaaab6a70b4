package fd

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/sched"
)

// openDirect opens a file with a direct descriptor, or skips the test.
func openDirect(t *testing.T) (*os.File, *FD) {
	t.Helper()
	file, err := os.Create(filepath.Join(aiotest.Dir(t), "file"))
	if err != nil {
		t.Fatal(err)
	}
	fd := New(file, true)
	t.Cleanup(func() {
		file.Close()
		fd.Close()
	})
	if !fd.Direct() || !fd.direct.Writes {
		aiotest.NeedsDirect(t)
	}
	return file, fd
}

// pageCacheCalls returns how many calls through the page cache there have been.
func pageCacheCalls() int64 {
	s, _ := sched.ReadStats()
	return s.PageCache
}

// A write of a Group that the kernel has cut short after some blocks goes on as a WriteAt does: what
// is left are whole blocks, which go direct.
func TestGroupWriteThatFellShort(t *testing.T) {
	aiotest.Guard(t)
	file, fd := openDirect(t)
	block := fd.direct.Write
	p := AlignedBuffer(4 * block)
	copy(p, aiotest.Pattern(len(p), 1))
	if _, err := fd.WriteAt(One(p[:block]), 0); err != nil { // what the kernel has made of it
		t.Fatal(err)
	}
	if !fd.acquire() { // as Add
		t.Fatal("closed")
	}
	m := member{fd: fd, op: Write, p: p}
	before := pageCacheCalls()
	if n, err, ok := m.finish(block, nil); n != len(p) || err != nil || !ok {
		t.Errorf("finish = %d, %v, %t", n, err, ok)
	}
	if n := pageCacheCalls() - before; n != 0 {
		t.Errorf("%d calls through the page cache", n)
	}
	if got, err := os.ReadFile(file.Name()); err != nil || !bytes.Equal(got, p) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
}

// A read of a Group that the kernel has cut short goes on direct, too.
func TestGroupReadThatFellShort(t *testing.T) {
	aiotest.Guard(t)
	file, fd := openDirect(t)
	want := aiotest.Pattern(16<<10, 1)
	if _, err := file.Write(want); err != nil {
		t.Fatal(err)
	}
	p := AlignedBuffer(len(want))
	copy(p, want[:4096])
	if !fd.acquire() {
		t.Fatal("closed")
	}
	m := member{fd: fd, op: Read, p: p}
	before := pageCacheCalls()
	if n, err, ok := m.finish(4096, nil); n != len(p) || err != nil || !ok || !bytes.Equal(p, want) {
		t.Errorf("finish = %d, %v, %t; as written: %t", n, err, ok, bytes.Equal(p, want))
	}
	if n := pageCacheCalls() - before; n != 0 {
		t.Errorf("%d calls through the page cache", n)
	}
}

// Each write of a Group gives back its lock and its room when it is done, and not when all are.
func TestGroupGivesBackAtOnce(t *testing.T) {
	aiotest.Guard(t)
	_, fd := openDirect(t)
	block := fd.direct.Write
	p := AlignedBuffer(2 * block)
	if _, err := fd.WriteAt(One(p), 0); err != nil { // no write of the Groups extends the file
		t.Fatal(err)
	}
	var g Group
	writeBlocks(t, &g, fd, p)
	release := g.group.Done
	if release == nil {
		t.Fatal("a write that is done gives nothing back")
	}
	g.group.Done = func(i int) {
		release(i)
		r := g.members[i].lockRange()
		if !fd.inode.TryLock(r) {
			t.Errorf("write %d is done and holds its lock", i)
			return
		}
		fd.inode.Unlock(r)
	}
	writeBlocks(t, &g, fd, p)
}

// writeBlocks writes each block of p by a write of g.
func writeBlocks(t *testing.T, g *Group, fd *FD, p []byte) {
	t.Helper()
	block := fd.direct.Write
	n := len(p) / block
	for i := range n {
		if a := g.Add(fd, Write, p[i*block:][:block], int64(i*block)); a != Admitted {
			t.Fatalf("write %d has admission %d", i, a)
		}
	}
	g.Run()
	for i := range n {
		if n, err, ok := g.Finish(i); ok && (n != block || err != nil) {
			t.Errorf("write %d = %d, %v", i, n, err)
		}
	}
	g.Free()
}
