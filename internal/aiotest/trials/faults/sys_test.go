package faults

import (
	"os"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// adviseRandom switches readahead off.
func adviseRandom(s *stage, f aiotest.File) {
	s.Helper()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		s.Fatal(os.NewSyscallError("fadvise", err))
	}
}
