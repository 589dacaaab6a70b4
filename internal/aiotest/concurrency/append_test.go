package concurrency

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// recordSizes are the lengths in bytes of an appender's records, in order.
var recordSizes = []int{100, 1, 512, 4096, 1, 33, 4097, 20000, 1, 8192, 70000, 19, 1, 65536, 511, 100 << 10}

const (
	appendersEach = 8 // appenders of a process
	processes     = 3
	headerSize    = 18
	single        = 0x80 // a record of one byte is this plus the appender's number
)

// record returns an appender's record: one byte, or a header with the appender, the record's number
// and its length, and bytes derived from those. No byte is zero.
func record(appender, k int) []byte {
	n := recordSizes[(appender+k)%len(recordSizes)]
	if n == 1 {
		return []byte{single + byte(appender)}
	}
	p := fmt.Appendf(make([]byte, 0, n), "R%c%08x%08x", 'A'+appender, k, n)
	for i := len(p); i < n; i++ {
		p = append(p, byte(1+(appender*5+k*3+i)%127))
	}
	return p
}

// TestAppenders appends records from several processes, through several Files each, buffered and
// direct and os.Files, by all methods that append. Every record must be there whole, once, and in
// the order of its appender.
func TestAppenders(t *testing.T) {
	conditions(t, func(t *testing.T) {
		name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
		records := aiotest.Scaled(20)
		defer aiotest.WatchSize(t, aiofile.OpenOS(t, name, os.O_RDONLY))()
		var wg sync.WaitGroup
		for i := range processes - 1 {
			ask := partner(t, "appenders", name, strconv.Itoa(i+1), strconv.Itoa(records))
			wg.Go(func() { ask("append") })
		}
		if err := appendRecords(appenderFiles(name), 0, records); err != nil {
			t.Error(err)
		}
		wg.Wait()
		for _, way := range ways {
			f := way.open(t, name, os.O_RDONLY)
			fi, err := f.Stat()
			aiofile.Must(err)
			content := make([]byte, fi.Size())
			if n, err := f.ReadAt(content, 0); n != len(content) {
				t.Fatal(n, err)
			}
			if err := checkRecords(content, records); err != nil {
				t.Fatalf("%s: %v", way.name, err)
			}
		}
	})
}

// appenderFiles opens a file for appending, in every way.
func appenderFiles(name string) (files []aiotest.File) {
	const flag = os.O_WRONLY | os.O_APPEND
	for _, direct := range []int{aio.O_DIRECT, 0, aio.O_DIRECT} {
		f, err := aio.OpenFile(name, flag|direct, 0)
		aiofile.Must(err)
		files = append(files, f)
	}
	f, err := os.OpenFile(name, flag, 0)
	aiofile.Must(err)
	return append(files, f)
}

func appendersChild(args []string) {
	files := appenderFiles(args[0])
	serve(func(string) { aiofile.Must(appendRecords(files, aiofile.Number(args[1]), aiofile.Number(args[2]))) })
}

// appendRecords runs the appenders of one process, two on each File.
func appendRecords(files []aiotest.File, process, records int) error {
	defer closeAll(files)
	errs := make([]error, appendersEach)
	var wg sync.WaitGroup
	for i := range appendersEach {
		wg.Go(func() {
			for k := range records {
				if err := appendRecord(files[i%len(files)], k, record(process*appendersEach+i, k)); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// appendRecord appends by one of the methods. bytes.Reader gives ReadFrom everything in one piece.
func appendRecord(f aiotest.File, k int, p []byte) error {
	var n int
	var err error
	switch k % 3 {
	case 0:
		n, err = f.Write(p)
	case 1:
		n, err = f.WriteString(string(p))
	default:
		var m int64
		m, err = f.ReadFrom(bytes.NewReader(p))
		n = int(m)
	}
	if err == nil && n != len(p) {
		return fmt.Errorf("appended %d bytes of %d", n, len(p))
	}
	return err
}

// checkRecords reads the records of all appenders in the order of the file.
func checkRecords(content []byte, records int) error {
	next := make([]int, processes*appendersEach)
	for off := 0; off < len(content); {
		appender, err := appenderAt(content[off:])
		if err != nil || appender >= len(next) {
			return fmt.Errorf("at %d of %d: no record, %w", off, len(content), err)
		}
		if next[appender] == records {
			return fmt.Errorf("at %d: a record too many of appender %d", off, appender)
		}
		want := record(appender, next[appender])
		if !bytes.HasPrefix(content[off:], want) {
			return fmt.Errorf("at %d: not record %d of appender %d, of %d bytes", off, next[appender], appender, len(want))
		}
		next[appender]++
		off += len(want)
	}
	for appender, k := range next {
		if k != records {
			return fmt.Errorf("appender %d: %d records of %d", appender, k, records)
		}
	}
	return nil
}

// appenderAt returns the appender of the record at the start of p.
func appenderAt(p []byte) (int, error) {
	if p[0] >= single {
		return int(p[0] - single), nil
	}
	if len(p) < headerSize || p[0] != 'R' || p[1] < 'A' {
		return 0, fmt.Errorf("%q", p[:min(len(p), headerSize)])
	}
	return int(p[1] - 'A'), nil
}
