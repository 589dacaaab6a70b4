package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/go-aio/aio"
)

// readerEnv makes the process a reader: its seed and its directory.
const readerEnv = "POWERCUT_READER"

// readByChild reads all files of a directory by aio.File in another process. The process that
// serves the disk must not: see fusedisk.Server.Abort.
func readByChild(dir string, seed uint64) error {
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), readerEnv+"="+strconv.FormatUint(seed, 10)+" "+dir)
	if text, err := child.CombinedOutput(); err != nil {
		return fmt.Errorf("aio.File: %w: %s", err, text)
	}
	return nil
}

// beReader does not return if the process is a reader.
func beReader() {
	var dir string
	var seed uint64
	if n, _ := fmt.Sscanf(os.Getenv(readerEnv), "%d %s", &seed, &dir); n != 2 {
		return
	}
	if err := readAll(dir, rand.New(rand.NewPCG(seed, 3))); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// readAll compares the bytes read by Files, direct and buffered, and os.File.
func readAll(dir string, r *rand.Rand) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		if !e.Type().IsRegular() {
			continue // lost+found
		}
		name := filepath.Join(dir, e.Name())
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, flag := range []int{aio.O_DIRECT, 0} {
			if err := readAgain(name, flag, content, r); err != nil {
				return fmt.Errorf("%s, flag %#x: %w", e.Name(), flag, err)
			}
		}
	}
	return nil
}

// readAgain compares the bytes that an aio.File reads with content.
func readAgain(name string, flag int, content []byte, r *rand.Rand) error {
	f, err := aio.OpenFile(name, os.O_RDONLY|flag, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	p := make([]byte, 200_000)
	for off := 0; ; {
		part := p[:1+r.IntN(len(p))]
		if r.IntN(2) == 0 {
			part = p[:blockSize*(1+r.IntN(40))]
		}
		want := content[off:]
		want = want[:min(len(want), len(part))]
		n, err := f.ReadAt(part, int64(off))
		if n != len(want) || (n < len(part)) != errors.Is(err, io.EOF) || err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read of %d bytes at %d of %d: %d, %v", len(part), off, len(content), n, err)
		}
		if !bytes.Equal(part[:n], want) {
			return fmt.Errorf("read of %d bytes at %d: other bytes than os.File reads", len(part), off)
		}
		if off += n; n < len(part) {
			return nil
		}
	}
}
