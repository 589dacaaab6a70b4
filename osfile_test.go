package aio_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestFromOS checks that a File adopts an os.File, direct or not as the caller says.
func TestFromOS(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	want := aiotest.Pattern(3*4096+100, 1)
	if err := os.WriteFile(filepath.Join(dir, "file"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, c := range []struct {
		name   string
		flag   int
		direct bool
		want   bool
	}{
		{"buffered", os.O_RDWR, false, false},
		{"direct", os.O_RDWR, true, true},
		{"O_DIRECT", os.O_RDWR | aio.O_DIRECT, false, aio.O_DIRECT != 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner, err := root.OpenFile("file", c.flag, 0)
			if err != nil {
				aiotest.NeedsDirect(t) // the filesystem has no O_DIRECT
			}
			if _, err := inner.Seek(4096, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			f, err := aio.FromOS(inner, c.direct)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if direct := c.want && aiotest.Direct; f.Direct() != direct || (f.WhyNotDirect() == nil) != direct {
				t.Errorf("Direct is %t, %v; want %t", f.Direct(), f.WhyNotDirect(), direct)
			}
			if !f.Direct() && c.flag&aio.O_DIRECT != 0 {
				return // misaligned calls are refused, as by os.File
			}
			p := make([]byte, 1000)
			if n, err := f.Read(p); n != 1000 || err != nil || string(p) != string(want[4096:5096]) {
				t.Errorf("Read at the offset of the os.File: %d, %v", n, err)
			}
			if n, err := f.ReadAt(p, 77); n != 1000 || err != nil || string(p) != string(want[77:1077]) {
				t.Errorf("ReadAt: %d, %v", n, err)
			}
			if f.OSFile().Fd() != f.Fd() {
				t.Error("OSFile has another descriptor than Fd")
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if _, err := inner.Stat(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("the os.File after Close: %v", err)
			}
		})
	}
}

// TestFromOSAppends checks that a File knows O_APPEND of an adopted os.File.
func TestFromOSAppends(t *testing.T) {
	aiotest.Guard(t)
	name := filepath.Join(aiotest.Dir(t), "file")
	for _, direct := range []bool{false, true} {
		inner, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f, err := aio.FromOS(inner, direct)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := f.Write(aiotest.Pattern(4096, 1)); err != nil {
				t.Error(err)
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Error(err)
			}
		}
		if fi, err := f.Stat(); err != nil || fi.Size() != 8192 {
			t.Errorf("direct %t: %d bytes, %v", direct, fi.Size(), err)
		}
		_, want := inner.WriteAt([]byte("x"), 0)
		if _, err := f.WriteAt([]byte("x"), 0); err == nil || err.Error() != want.Error() {
			t.Errorf("WriteAt: %v, want %v", err, want)
		}
		f.Close()
	}
}

func TestFromOSRefused(t *testing.T) {
	if f, err := aio.FromOS(nil, true); f != nil || err != os.ErrInvalid {
		t.Errorf("of nil: %v, %v", f, err)
	}
	closed, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if f, err := aio.FromOS(closed, true); f != nil || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("of a closed one: %v, %v", f, err)
	}
}

// TestOSFileIsStdout checks that exec.Cmd hands the inner os.File to a child without a pipe.
func TestOSFileIsStdout(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Linux {
		t.Skip("needs echo(1): run go test . on Linux")
	}
	for _, m := range aiofile.Modes {
		name := filepath.Join(aiotest.Dir(t), "out")
		f := aiofile.Open(t, name, os.O_RDWR|os.O_CREATE|m.Flag)
		cmd := exec.Command("echo", "hello")
		cmd.Stdout = f.OSFile()
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(name); err != nil || string(text) != "hello\n" {
			t.Errorf("%s: %q, %v", m.Name, text, err)
		}
		if _, err := f.WriteString("world\n"); err != nil { // both share the offset
			t.Error(err)
		}
		if text, err := os.ReadFile(name); err != nil || string(text) != "hello\nworld\n" {
			t.Errorf("%s: %q, %v", m.Name, text, err)
		}
	}
	if f := (*aio.File)(nil); f.OSFile() != nil {
		t.Error("a nil File has an os.File")
	}
}

func TestWhyNotDirect(t *testing.T) {
	aiotest.Guard(t)
	if err := (*aio.File)(nil).WhyNotDirect(); err != os.ErrInvalid {
		t.Errorf("a nil File: %v", err)
	}
	dir := aiotest.Dir(t)
	f := aiofile.Open(t, filepath.Join(dir, "file"), os.O_RDWR|os.O_CREATE)
	if err := f.WhyNotDirect(); err == nil || !strings.Contains(err.Error(), "without O_DIRECT") {
		t.Errorf("opened without O_DIRECT: %v", err)
	}
	d := aiofile.Open(t, dir, os.O_RDONLY|aio.O_DIRECT)
	if err := d.WhyNotDirect(); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a directory: %v", err)
	}
	if !aiotest.Linux {
		return
	}
	g := aiofile.Open(t, filepath.Join(aiotest.TmpfsDir(t), "file"), os.O_RDWR|os.O_CREATE|aio.O_DIRECT)
	if err := g.WhyNotDirect(); !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.EINVAL) {
		t.Errorf("tmpfs: %v", err)
	}
}
