//go:build !linux

package compare

import (
	"errors"
	"time"
)

// drop is only known for Linux; what is measured with the file in memory says nothing.
func drop(string) error { return errors.ErrUnsupported }

func cpuTime() time.Duration { return 0 }
