package concurrency

import (
	"io"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// A span is n bytes at off.
type span struct {
	off int64
	n   int
}

func (s span) end() int64 { return s.off + int64(s.n) }

// A layout lists the bytes that the writers write; each writer has its own.
type layout struct {
	name   string
	spans  []span
	rounds int
}

func (l layout) size() int { return int(l.spans[len(l.spans)-1].end()) }

// row makes n spans of the given lengths, repeated as needed, one after the other.
func row(n int, lengths ...int) (spans []span) {
	off := int64(0)
	for i := range n {
		spans = append(spans, span{off, lengths[i%len(lengths)]})
		off = spans[i].end()
	}
	return spans
}

// From 64 KiB up a direct File writes with RWF_DONTCACHE.
var layouts = []layout{
	{"97 stripes in one page", row(97, 42), 40},
	{"60 stripes in one folio", row(60, 34949), 3},
	{"40 stripes, short and long, in one folio", row(40, 100, 104757), 3},
	{"100 stripes of 40 bytes in one block", row(100, 40), 340},
	{"100 stripes of 100 bytes in three blocks", row(100, 100), 340},
}

// TestStripes runs many writers of bytes that do not overlap, in one block, one page and one large
// folio of the page cache. No byte may be lost.
func TestStripes(t *testing.T) {
	for i, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			conditions(t, func(t *testing.T) {
				testStripes(t, i, aiofile.Put(t, aiotest.Dir(t), "file", make([]byte, l.size())))
			})
		})
	}
}

// byPartner reports whether a writer is in the other process.
func byPartner(writer int) bool { return writer%10 == 9 }

// fill returns the byte that fills a stripe after a round, never zero.
func fill(round, stripe int) byte { return byte((round*31+stripe*7)%255 + 1) }

// testStripes writes a layout by all names of the file.
func testStripes(t *testing.T, number int, names ...string) {
	l := layouts[number]
	files := []aiotest.File{byOS.open(t, names[0], os.O_RDWR)}
	for i := range 8 {
		files = append(files, ways[1+i%2].open(t, names[i/2%len(names)], os.O_RDWR))
	}
	ask := partner(t, "stripes", names[len(names)-1], strconv.Itoa(number))
	buffers := l.buffers()
	got := aiotest.Buffer(l.size(), 0)
	for round := range 3 * aiotest.Scaled(l.rounds) {
		var wg sync.WaitGroup
		wg.Go(func() { ask(strconv.Itoa(round)) })
		for w, p := range buffers {
			if byPartner(w) {
				continue
			}
			wg.Go(func() {
				if err := l.write(files[w%len(files)], w, round, p); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, f := range files[:3] {
			l.check(t, f, got, round)
		}
		if err := files[round%len(files)].Sync(); err != nil {
			t.Errorf("round %d, %T: Sync: %v", round, files[round%len(files)], err)
		}
		if t.Failed() {
			return
		}
	}
}

// buffers returns a buffer for each writer. Every other one is at an odd address, so that its
// direct writes need a bounce buffer.
func (l layout) buffers() (buffers [][]byte) {
	for i, s := range l.spans {
		buffers = append(buffers, aiotest.Buffer(s.n, i%2))
	}
	return buffers
}

func (l layout) write(f io.WriterAt, writer, round int, p []byte) error {
	for i := range p {
		p[i] = fill(round, writer)
	}
	_, err := f.WriteAt(p, l.spans[writer].off)
	return err
}

func (l layout) check(t *testing.T, f io.ReaderAt, p []byte, round int) {
	t.Helper()
	clear(p)
	if n, err := f.ReadAt(p, 0); n != len(p) {
		t.Fatal(n, err)
	}
	for i, s := range l.spans {
		for j, b := range p[s.off:s.end()] {
			if want := fill(round, i); b != want {
				t.Fatalf("round %d, %T: byte %d of stripe %d, at %d, is %d; want %d", round, f, j, i, s.off, b, want)
			}
		}
	}
}

// stripesChild runs in the other process.
func stripesChild(args []string) {
	l := layouts[aiofile.Number(args[1])]
	buffers := l.buffers()
	var files []*aio.File
	for _, m := range aiofile.Modes {
		f, err := aio.OpenFile(args[0], os.O_RDWR|m.Flag, 0)
		aiofile.Must(err)
		files = append(files, f)
	}
	serve(func(round string) {
		var wg sync.WaitGroup
		for w, p := range buffers {
			if byPartner(w) {
				wg.Go(func() { aiofile.Must(l.write(files[w/10%2], w, aiofile.Number(round), p)) })
			}
		}
		wg.Wait()
	})
}
