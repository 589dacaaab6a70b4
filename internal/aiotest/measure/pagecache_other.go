//go:build !linux

package measure

import "errors"

// dropFile is implemented on Linux only: measurements of a file in memory would mean nothing.
func dropFile(string) error { return errors.ErrUnsupported }
