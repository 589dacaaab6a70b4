//go:build !linux

package dio

import "errors"

// O_DIRECT is 0 where direct I/O is not to be had by a flag of open.
const O_DIRECT = 0

// Stat leaves every file to os.File.
func Stat(int) (Info, error) { return Info{}, errors.ErrUnsupported }

// Flags tells nothing.
func Flags(int) int { return 0 }

// Adopt finds no twin.
func Adopt(int) (*Twin, error) { return nil, errors.ErrUnsupported }

// Open finds no twin.
func Open(int) (*Twin, error) { return nil, errors.ErrUnsupported }

// OpenPlain has nothing to reopen.
func OpenPlain(int) (int, error) { return -1, errors.ErrUnsupported }

// CopyOffset is not called where there is no Twin.
func CopyOffset(int, int) error { return errors.ErrUnsupported }

// Close is not called where there is no Twin.
func (t *Twin) Close() error { return nil }

// Size is not called where there is no Twin.
func (t *Twin) Size() (int64, error) { return 0, errors.ErrUnsupported }

// Tags is not called where there is no Twin.
func Tags(uint64) int { return 0 }

// Pread is not called where there is no Twin.
func Pread(int, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Pwrite is not called where there is no Twin.
func Pwrite(int, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Preadv is not available.
func Preadv(int, [][]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Pwritev is not available.
func Pwritev(int, [][]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// PreadCached is not called where there is no Twin.
func PreadCached(int, uint64, [][]byte, int64) int { return 0 }

// PwriteUncached is not called where there is no Twin.
func PwriteUncached(int, uint64, [][]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Fdatasync is not available.
func Fdatasync(int) error { return errors.ErrUnsupported }

// Allocate is not available.
func Allocate(int, int64, int64) error { return errors.ErrUnsupported }

// PunchHole is not available.
func PunchHole(int, int64, int64) error { return errors.ErrUnsupported }
