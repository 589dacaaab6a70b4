//go:build !linux

package dio

import "errors"

// O_DIRECT is 0 on systems whose open has no flag for direct I/O.
const O_DIRECT = 0

// Stat leaves every file to os.File.
func Stat(int) (Info, error) { return Info{}, errors.ErrUnsupported }

// Flags returns 0.
func Flags(int) int { return 0 }

// Adopt is not available.
func Adopt(int) (*Direct, error) { return nil, errors.ErrUnsupported }

// Open is not available.
func Open(int) (*Direct, error) { return nil, errors.ErrUnsupported }

// OpenBuffered is not available.
func OpenBuffered(int) (int, error) { return -1, errors.ErrUnsupported }

// CopyOffset is not called without a Direct.
func CopyOffset(int, int) error { return errors.ErrUnsupported }

// Close is not called without a Direct.
func (d *Direct) Close() error { return nil }

// Size is not called without a Direct.
func (d *Direct) Size() (int64, error) { return 0, errors.ErrUnsupported }

// Tags is not called without a Direct.
func Tags(uint64) int { return 0 }

// Pread is not called without a Direct.
func Pread(int, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Pwrite is not called without a Direct.
func Pwrite(int, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Preadv is not available.
func Preadv(int, [][]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Pwritev is not available.
func Pwritev(int, [][]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// PreadCached is not called without a Direct.
func PreadCached(int, uint64, [][]byte, int64) int { return 0 }

// PwriteUncached is not called without a Direct.
func PwriteUncached(int, uint64, [][]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Fdatasync is not available.
func Fdatasync(int) error { return errors.ErrUnsupported }

// Allocate is not available.
func Allocate(int, int64, int64) error { return errors.ErrUnsupported }

// PunchHole is not available.
func PunchHole(int, int64, int64) error { return errors.ErrUnsupported }
