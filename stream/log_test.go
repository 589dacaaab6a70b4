package stream_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
	"github.com/go-aio/aio/stream"
)

// TestLogResumed starts exclusive Writers where others stopped. Most of those were not closed, as
// after a crash, so that the next Writer begins in their zeros.
func TestLogResumed(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	for _, m := range aiofile.Modes {
		name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
		f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
		var want []byte
		for i := range 20 {
			w := stream.NewWriter(f, stream.WriterOptions{Offset: int64(len(want)), Exclusive: true})
			p := aiotest.Pattern(100+i*777, byte(i))
			if n, err := w.Write(p); n != len(p) || err != nil {
				t.Fatalf("%s: %d, %v", m.Name, n, err)
			}
			if err := w.Sync(); err != nil {
				t.Fatalf("%s: %v", m.Name, err)
			}
			want = append(want, p...)
			got := contentOf(t, name)
			if len(got) < len(want)+4096 || len(got)%4096 != 0 ||
				!bytes.Equal(got, append(want, make([]byte, len(got)-len(want))...)) {
				t.Fatalf("%s: %d bytes; %d have been written", m.Name, len(got), len(want))
			}
			if i%3 == 0 {
				closeStream(t, m.Name, w)
				if got := contentOf(t, name); !bytes.Equal(got, want) {
					t.Fatalf("%s: closed: %d bytes; %d have been written", m.Name, len(got), len(want))
				}
			}
		}
	}
}

// TestLastRoom appends records by Writers to a filesystem until it is full.
func TestLastRoom(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.OnSmall(t, aiotest.LastRoom)
}
