package compare

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-aio/aio"
)

func write(w io.Writer, size int64) error {
	_, err := w.Write(bytes.Repeat([]byte("x"), int(size)))
	return err
}

// sum reads the file by pieces of 1000 bytes.
func sum(f File) (Result, error) {
	fi, err := f.Stat()
	if err != nil {
		return Result{}, err
	}
	return Parallel(4, func(i int) (Result, error) {
		quarter := fi.Size() / 4
		return Checksum(io.NewSectionReader(f, int64(i)*quarter, quarter))
	})
}

func measureCase(t *testing.T, run func(File) (Result, error)) (string, error) {
	t.Helper()
	var out strings.Builder
	p := Program{Name: "file", Make: write, Cases: []Case{{Name: "the case", Run: run}}}
	err := p.Measure(&out, Options{Dir: t.TempDir(), Size: 1 << 20, Rounds: 2})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	return out.String(), err
}

func TestMeasure(t *testing.T) {
	out, err := measureCase(t, sum)
	if err != nil || !strings.Contains(out, "\n| the case | ") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMeasureFindsOtherResult(t *testing.T) {
	_, err := measureCase(t, func(f File) (Result, error) {
		r, err := sum(f)
		if a, ok := f.(*aio.File); ok && a.Direct() {
			r.Sum++
		}
		return r, err
	})
	if err == nil {
		t.Skip("no direct I/O here")
	}
	if !strings.Contains(err.Error(), "the case: direct: ") {
		t.Error(err)
	}
}

func TestMeasureReturnsError(t *testing.T) {
	want := errors.New("an error")
	if _, err := measureCase(t, func(File) (Result, error) { return Result{}, want }); !errors.Is(err, want) {
		t.Error(err)
	}
}

func TestCount(t *testing.T) {
	var out strings.Builder
	p := Program{Name: "file", Make: write, Cases: []Case{{Name: "three", Run: func(f File) (Result, error) {
		for _, r := range []struct{ off, n int64 }{{0, 512}, {1, 512}, {1024, 4096}} {
			if _, err := f.ReadAt(make([]byte, r.n), r.off); err != nil {
				return Result{}, err
			}
		}
		return Result{}, nil
	}}}}
	if err := p.Count(&out, Options{Dir: t.TempDir(), Size: 8192}); err != nil {
		t.Fatal(err)
	}
	if want := "| three | 3 | 512 | 512 | 4096 | 66 % |"; !strings.Contains(out.String(), want) {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
}
