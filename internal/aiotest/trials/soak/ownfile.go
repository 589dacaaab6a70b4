package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// mostOwn bounds the file of a single worker, in bytes.
const mostOwn = 64 << 10

// An ownFile has one user, a worker, which knows its size, contents and offset exactly.
type ownFile struct {
	*worker
	f       file
	mode    int
	appends bool
	content []byte
	offset  int64
}

func (o *ownFile) name() string { return filepath.Join(o.dir, "own"+strconv.Itoa(o.number)) }

func (o *ownFile) step() error {
	if o.f == nil {
		return o.open()
	}
	switch n := o.rand.IntN(100); {
	case n < 20:
		return o.write()
	case n < 45:
		return o.readNext()
	case n < 60:
		return o.seek()
	case n < 70:
		return o.writeAnywhere()
	case n < 80:
		return o.readAnywhere()
	case n < 85:
		return o.truncate()
	case n < 90:
		return o.readFrom()
	case n < 94:
		return o.writeTo()
	case n < 96:
		return o.worker.sync(o.f, o.mode, sync_, o.f.Sync)
	case n < 98:
		return o.stat()
	default:
		return o.close()
	}
}

// open opens the file in another mode.
func (o *ownFile) open() (err error) {
	o.mode, o.appends, o.offset = o.rand.IntN(modes), o.rand.IntN(4) == 0, 0
	flag := os.O_RDWR | os.O_CREATE
	if o.appends {
		flag |= os.O_APPEND
	}
	o.timed(o.number, openFile, o.mode, 0, func() { o.f, err = open(o.name(), o.mode, flag) })
	if err != nil {
		o.f = nil
	}
	return err
}

func (o *ownFile) close() (err error) {
	f := o.f
	o.f = nil
	o.timed(o.number, closeFile, o.mode, 0, func() { err = f.Close() })
	return err
}

// some returns new bytes, of a length that fits at off.
func (o *ownFile) some(off int64) []byte {
	room := mostOwn - int(off)
	n := min(room, 1+o.rand.IntN([]int{300, 9000}[o.rand.IntN(2)]))
	if o.rand.IntN(3) == 0 && room >= 4096 {
		n = min(room&^4095, 4096*(1+o.rand.IntN(3)))
	}
	p := o.buffer[o.rand.IntN(2):][:min(n, len(o.buffer)-1)]
	o.fill(p)
	return p
}

// put stores p at off in the model.
func (o *ownFile) put(p []byte, off int64) {
	if grow := int(off) + len(p) - len(o.content); grow > 0 {
		o.content = append(o.content, make([]byte, grow)...)
	}
	copy(o.content[off:], p)
}

// where returns the offset of the next Write.
func (o *ownFile) where() int64 {
	if o.appends {
		return int64(len(o.content))
	}
	return o.offset
}

func (o *ownFile) write() (err error) {
	p := o.some(o.where())
	if len(p) == 0 {
		return o.shrink()
	}
	kind := write
	if o.appends {
		kind = appending
	}
	var n int
	o.timed(o.number, kind, o.mode, len(p), func() { n, err = o.f.Write(p) })
	return o.moved("Write", p, n, err)
}

// moved checks the result of a write of p at the offset.
func (o *ownFile) moved(what string, p []byte, n int, err error) error {
	if n != len(p) || err != nil {
		return fmt.Errorf("%s: %s %d bytes: %d, %w", modeNames[o.mode], what, len(p), n, err)
	}
	if n == 0 {
		return nil // it does not make the file grow
	}
	at := o.where()
	o.put(p, at)
	o.offset = at + int64(n)
	return nil
}

func (o *ownFile) readFrom() (err error) {
	p := o.some(o.where())
	var n int64
	from := o.f.(io.ReaderFrom)
	o.timed(o.number, readFrom, o.mode, len(p), func() { n, err = from.ReadFrom(bytes.NewReader(p)) })
	return o.moved("ReadFrom", p, int(n), err)
}

// rest returns the content from the offset on.
func (o *ownFile) rest() []byte { return o.content[min(int(o.offset), len(o.content)):] }

func (o *ownFile) readNext() (err error) {
	rest := o.rest()
	p := o.buffer[o.rand.IntN(2):][:1+o.rand.IntN(9000)%(len(o.buffer)-1)]
	var n int
	o.timed(o.number, read, o.mode, len(p), func() { n, err = o.f.Read(p) })
	want := rest[:min(len(rest), len(p))]
	if len(want) == 0 && err == io.EOF && n == 0 {
		return nil
	}
	if err != nil || !bytes.Equal(p[:n], want) {
		return fmt.Errorf("%s: Read %d bytes at %d of %d: %d, %w; or other bytes than were written", modeNames[o.mode], len(p), o.offset, len(o.content), n, err)
	}
	o.offset += int64(n)
	return nil
}

func (o *ownFile) writeTo() (err error) {
	var got bytes.Buffer
	var n int64
	to := o.f.(io.WriterTo)
	rest := o.rest()
	o.timed(o.number, writeTo, o.mode, len(rest), func() { n, err = to.WriteTo(&got) })
	if err != nil || int(n) != len(rest) || !bytes.Equal(got.Bytes(), rest) {
		return fmt.Errorf("%s: WriteTo from %d of %d: %d, %w; or other bytes than were written", modeNames[o.mode], o.offset, len(o.content), n, err)
	}
	o.offset += n
	return nil
}

func (o *ownFile) seek() (err error) {
	want := int64(o.rand.IntN(min(len(o.content)+100, mostOwn)))
	if o.rand.IntN(2) == 0 {
		want &^= 4095
	}
	off, whence := want, io.SeekStart
	switch o.rand.IntN(3) {
	case 0:
		off, whence = want-int64(len(o.content)), io.SeekEnd
	case 1:
		off, whence = want-o.offset, io.SeekCurrent
	}
	var got int64
	o.timed(o.number, seek, o.mode, 0, func() { got, err = o.f.Seek(off, whence) })
	if err == nil && got != want {
		err = fmt.Errorf("%s: Seek %d, %d: %d; want %d", modeNames[o.mode], off, whence, got, want)
	}
	o.offset = want
	return err
}

func (o *ownFile) writeAnywhere() error {
	if o.appends { // os refuses
		return o.write()
	}
	off := int64(o.rand.IntN(mostOwn - 1))
	if o.rand.IntN(2) == 0 {
		off &^= 4095
	}
	p := o.some(off)
	o.put(p, off)
	return o.writeAt(o.f, o.mode, p, off)
}

func (o *ownFile) readAnywhere() error {
	if len(o.content) == 0 {
		return nil
	}
	lo := o.rand.IntN(len(o.content))
	n := 1 + o.rand.IntN(min(len(o.content)-lo, len(o.buffer)-1))
	return o.worker.readAt(o.f, o.mode, o.buffer[o.rand.IntN(2):][:n], int64(lo), o.content[lo:][:n])
}

func (o *ownFile) truncate() error {
	size := o.rand.IntN(mostOwn)
	if size <= len(o.content) {
		o.content = o.content[:size]
	} else {
		o.put(nil, int64(size))
	}
	return o.worker.sync(o.f, o.mode, truncate, func() error { return o.f.Truncate(int64(size)) })
}

// shrink makes room.
func (o *ownFile) shrink() error {
	o.content = o.content[:0]
	return o.worker.sync(o.f, o.mode, truncate, func() error { return o.f.Truncate(0) })
}

func (o *ownFile) stat() (err error) {
	var fi os.FileInfo
	o.timed(o.number, stat, o.mode, 0, func() { fi, err = o.f.Stat() })
	if err == nil && fi.Size() != int64(len(o.content)) {
		err = fmt.Errorf("%s: the size is %d; want %d", modeNames[o.mode], fi.Size(), len(o.content))
	}
	return err
}

// verify closes the file and compares it with the model.
func (o *ownFile) verify() error {
	if o.f != nil {
		if err := o.close(); err != nil {
			return err
		}
	}
	if _, err := os.Stat(o.name()); os.IsNotExist(err) && len(o.content) == 0 {
		return nil // the file was never created
	}
	got, err := os.ReadFile(o.name())
	if err == nil && !bytes.Equal(got, o.content) {
		err = fmt.Errorf("in the end %s has %d bytes, and should have %d; or other bytes than were written", o.name(), len(got), len(o.content))
	}
	return err
}
