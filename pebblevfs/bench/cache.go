package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var ctx = context.Background()

// drop has the page cache forget the files of a directory.
func drop(dir string) error {
	return each(dir, func(f *os.File) error {
		if err := f.Sync(); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// fill reads all files of a directory into the page cache.
func fill(dir string) error {
	return each(dir, func(f *os.File) error {
		_, err := io.Copy(io.Discard, struct{ io.Reader }{f})
		return err
	})
}

func each(dir string, do func(*os.File) error) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = do(f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
