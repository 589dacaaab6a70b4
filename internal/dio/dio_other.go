//go:build !linux

package dio

import "errors"

// O_DIRECT is 0 on systems whose open has no flag for direct I/O.
const O_DIRECT = 0

// Stat leaves every file to os.File. What needs a Direct is not called.

func Stat(int) (Info, error)        { return Info{}, errors.ErrUnsupported }
func Flags(int) int                 { return 0 }
func Tags(uint64) int               { return 0 }
func Adopt(int) (*Direct, error)    { return nil, errors.ErrUnsupported }
func Open(int) (*Direct, error)     { return nil, errors.ErrUnsupported }
func OpenBuffered(int) (int, error) { return -1, errors.ErrUnsupported }
func CopyOffset(int, int) error     { return errors.ErrUnsupported }

func (d *Direct) Close() error         { return nil }
func (d *Direct) Size() (int64, error) { return 0, errors.ErrUnsupported }

func Pread(int, []byte, int64) (int, error)     { return 0, errors.ErrUnsupported }
func Pwrite(int, []byte, int64) (int, error)    { return 0, errors.ErrUnsupported }
func Preadv(int, [][]byte, int64) (int, error)  { return 0, errors.ErrUnsupported }
func Pwritev(int, [][]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

func PreadCached(int, uint64, [][]byte, int64) int             { return 0 }
func PwriteUncached(int, uint64, [][]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

func Fdatasync(int) error               { return errors.ErrUnsupported }
func Allocate(int, int64, int64) error  { return errors.ErrUnsupported }
func PunchHole(int, int64, int64) error { return errors.ErrUnsupported }
