//go:build !linux

package sqlite

import (
	"errors"

	"github.com/go-aio/aio"
	"github.com/ncruces/go-sqlite3/vfs"
)

// again has nothing to offer that the VFS "os" has not.
func again(vfs.File, vfs.OpenFlag, bool) (*aio.File, error) { return nil, errors.ErrUnsupported }
