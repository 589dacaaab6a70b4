package faults

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest"
)

// adviseRandom switches readahead off.
func adviseRandom(s *stage, f aiotest.File) {
	s.Helper()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		s.Fatal(os.NewSyscallError("fadvise", err))
	}
}
